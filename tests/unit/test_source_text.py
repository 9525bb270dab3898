"""C++ as text: what is code, which words and calls stand in it, and what the preprocessor leaves."""

import pytest

from images.context.source_text import calls, code_of, live, replace_words

CUDNN9: dict[str, int | None] = {"CUDNN_MAJOR": 9, "CUDNN_VERSION_MIN": 90000, "CPU_ONLY": None}


def test_comments_and_strings_are_no_code_and_places_stay() -> None:
    text = 'a; // CV_A "x"\nb = "CV_A \\" //"; /* CV_A\nCV_A */ c = \'"\'; CV_A;\n'
    code = code_of(text)
    assert len(code) == len(text) and code.count("\n") == text.count("\n")
    assert [code.index("CV_A")] == [text.rindex("CV_A")]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("x = imread(f, CV_OLD_COLOR);", "x = imread(f, cv::NEW_COLOR);"),
        ("x = cv::CV_OLD_COLOR;", "x = cv::NEW_COLOR;"),
        ("MY_CV_OLD_COLOR; CV_OLDER; // CV_OLD_COLOR", "MY_CV_OLD_COLOR; CV_OLDER; // CV_OLD_COLOR"),
        ('log("CV_OLD_COLOR");', 'log("CV_OLD_COLOR");'),
        ("#define CV_OLD_COLOR 1\nx = CV_OLD_COLOR;", "#define CV_OLD_COLOR 1\nx = cv::NEW_COLOR;"),
        ("#define COLOR CV_OLD_COLOR", "#define COLOR cv::NEW_COLOR"),
        ("#include <CV_OLD_COLOR>", "#include <CV_OLD_COLOR>"),
        ("f(CV_OLD_A | CV_OLD_B)", "f(cv::NEW_A | cv::NEW_B)"),
    ],
)
def test_whole_words_in_code_are_replaced_and_own_macros_stay(text: str, after: str) -> None:
    assert replace_words(text, {r"CV_OLD_(\w+)": r"cv::NEW_\1"})[0] == after


def test_calls_are_counted_by_their_arguments() -> None:
    code = code_of("set(*a,\n  f(b, c), d<1>(e)); reset(1); x.set(1); ns::set<T>(); set(g, {h, i});")
    assert [arguments for _, _, arguments in calls(code, "set")] == [
        ["*a", "f(b, c)", "d<1>(e)"],
        ["g", "{h, i}"],
    ]


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("#if CUDNN_VERSION_MIN(6, 0, 0)", "if"),
        ("#if !CUDNN_VERSION_MIN(6,0,0)", "else"),
        ("#if CUDNN_MAJOR < 6", "else"),
        ("#if CUDNN_MAJOR >= 5 && CUDNN_MAJOR < 7", "else"),
        ("#if defined(CPU_ONLY) || CUDNN_MAJOR < 5", "else"),
        ("#ifdef CPU_ONLY", "else"),
        ("#ifndef CPU_ONLY", "if"),
        ("#if CUDNN_MAJOR >= 5 && \\\n  CUDNN_MAJOR < 7", "else"),
        ("#if SOMETHING > 3", "both"),
        ("#if SOMETHING > 3 || CUDNN_MAJOR == 9", "if"),
        ("#if (CUDA > ", "both"),
    ],
)
def test_the_preprocessor_leaves_what_the_versions_say(condition: str, left: str) -> None:
    text = f"{condition}\nnew\n#else\nold\n#endif\nafter\n"
    lines = dict(zip(text.split("\n"), live(text, CUDNN9), strict=False))
    assert lines["after"]
    assert (lines["new"], lines["old"]) == {"if": (True, False), "else": (False, True), "both": (True, True)}[left]


def test_elif_is_left_only_where_nothing_before_was() -> None:
    text = "#if CUDNN_MAJOR >= 8\na\n#elif CUDNN_MAJOR >= 6\nb\n#else\nc\n#endif"
    lines = dict(zip(text.split("\n"), live(text, CUDNN9), strict=True))
    assert (lines["a"], lines["b"], lines["c"]) == (True, False, False)
