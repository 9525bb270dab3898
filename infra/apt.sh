# shellcheck shell=sh
# apt.sh: sourced by the steps of a build that install packages of the distribution.
#
#   release_end   the day on which the release's support ends, YYYY-MM-DD; the step sets it before
#   apt_options   options of `apt-get install`; the step may set them
#   apt_install NAME[=VERSION]...   read the lists, then install, without what is merely recommended
#   apt_somewhere COMMAND...        run a command of apt's where the packages are
#   apt_components NAME...          have apt look into these components, too: contrib, non-free
#   apt_tidy                        leave no trace of the build's own settings
#
# When a release has ended its packages move, and for months the index names files that the pool no longer has. Past
# that day, and only then, what cannot be had from one place is looked for in the next: the sources as they are; an
# archive that a setting names; the dated snapshot that official images name in a comment of their sources file, or that
# a setting names; at last, with a warning, the release without its security suite. A lock file's day (the build's
# argument PROVISION_SNAPSHOT) goes before all, and nothing comes after it. Signatures are checked everywhere; only
# their last day is not looked at, in an archive or a snapshot. Settings are lines NAME=URL of the secret `apt`, and
# never stay in an image; the snapshot of the image's own comment does: no other place has its packages any more.

release_end=${release_end:?the day on which the support of the release ends}
apt_settings=${apt_settings:-/run/secrets/apt}
apt_options=${apt_options:-}
apt_root=${apt_root:-}
apt_list=$apt_root/etc/apt/sources.list
apt_parts=$apt_root/etc/apt/sources.list.d
apt_words="[check-valid-until=no]"
apt_dated='[0-9]{8}T[0-9]{6}Z'

apt_who() { (. "$apt_root/etc/os-release" && echo "$ID"); }
apt_codename() { (. "$apt_root/etc/os-release" && echo "${VERSION_CODENAME:-}"); }

apt_setting() { # NAME: what debian_NAME or ubuntu_NAME is set to
    [ -s "$apt_settings" ] || return 0
    sed -n "s/^$(apt_who)_$1=//p" "$apt_settings"
}

# Debian's fixes have a folder beside the release's; Ubuntu's are in the same.
apt_archived_security() { # URL
    apt_setting security | grep . || case $(apt_who) in ubuntu) echo "$1" ;; *) echo "${1%/}-security" ;; esac
}

# The distribution's own, and lists of one-line sources, of which others may have some.
apt_files() { find "$apt_list" "$apt_parts" -name '*.list' -o -name debian.sources -o -name ubuntu.sources 2>/dev/null | sort; }

# Each of the release's own deb lines, and each URIs: of the newer form, with another address; the lines of others stay.
apt_point_at() { # RELEASE_URL SECURITY_URL
    for apt_file in $(apt_files); do
        awk -v release="$1" -v security="$2" -v code="$(apt_codename)" '
            function of_security(text) { return text ~ /-security|\/updates$/ }
            /^deb[ \t].*https?:\/\// {
                gsub(/[ \t]+/, " ")
                at = match($0, /https?:\/\/[^ ]+/); old = substr($0, at, RLENGTH); head = substr($0, 1, at - 1)
                rest = substr($0, at + length(old) + 1); split(rest, words, " ")
                if (index(words[1], code) != 1) { print; next }
                if (!sub(/\[ */, "[check-valid-until=no ", head)) head = "deb [check-valid-until=no] "
                print head (of_security(words[1]) ? security : release) " " rest; next
            }
            /^URIs:/ { print "URIs: " ($2 ~ /security/ ? security : release); print "Check-Valid-Until: no"; next }
            /^Check-Valid-Until:/ { next }
            { print }' "$apt_file" > "$apt_file.new"
        mv "$apt_file.new" "$apt_file"
    done
}

# The addresses in the comments that official images carry take the place of those that they stand beside.
apt_point_at_comments() {
    for apt_file in $(apt_files); do
        awk -v words="$apt_words" -v code="$(apt_codename)" '
            function dated(text) { return text ~ /\/[0-9]+T[0-9]+Z( |$)/ }
            /^# deb / && dated($0) { sub(/^# deb (\[[^]]*\] )?/, ""); print "deb " words " " $0; next }
            /^deb[ \t].*https?:\/\// { gsub(/[ \t]+/, " "); if ($0 ~ (" " code "[^ ]* ")) next }
            /^# https?:/ && dated($0) { url = $2; next }
            /^URIs:/ && url != "" { print "URIs: " url; print "Check-Valid-Until: no"; url = ""; next }
            { print }' "$apt_file" > "$apt_file.new"
        mv "$apt_file.new" "$apt_file"
    done
}

# Without what comes from a security suite: the lines, or of the newer form the words, and a stanza that has no other.
apt_leave_security_out() {
    for apt_file in $(apt_files); do
        case $apt_file in
            *.sources) awk 'BEGIN { RS = ""; FS = "\n"; ORS = "\n\n" } {
                kept = ""; any = 0
                for (at = 1; at <= NF; at++) {
                    line = $at
                    if (line ~ /^Suites:/) {
                        count = split(line, words, " "); line = words[1]
                        for (one = 2; one <= count; one++)
                            if (words[one] !~ /-security$|\/updates$/) { line = line " " words[one]; any = 1 }
                    }
                    kept = kept (at > 1 ? "\n" : "") line
                }
                if (any) print kept }' "$apt_file" > "$apt_file.new" ;;
            *) sed -E '/^deb[ \t].*(-security|\/updates)[ \t]/d' "$apt_file" > "$apt_file.new" ;;
        esac
        mv "$apt_file.new" "$apt_file"
    done
}

apt_has_comments() {
    for apt_file in $(apt_files); do
        if grep -qE "^# (deb .*|https?:.*)/$apt_dated( |\$)" "$apt_file"; then return 0; fi
    done
    return 1
}

apt_saved() { rm -rf /tmp/apt-sources; mkdir /tmp/apt-sources; (cd "$apt_root/etc/apt" && cp -a sources.list* /tmp/apt-sources/); }
apt_restored() { (cd "$apt_root/etc/apt" && rm -rf sources.list*); cp -a /tmp/apt-sources/. "$apt_root/etc/apt/"; }

apt_point_at_snapshot() { # DATE; 1: no setting names a snapshot service
    url=$(apt_setting snapshot)
    [ -n "$url" ] || return 1
    apt_point_at "${url%/}/debian/$1" "${url%/}/debian-security/$1"
}

# Make apt look at a place; 1: that place is not known here.
apt_go_to() { # locked|own|archive|comments|snapshot|release
    case $1 in
        locked) # to the state of the archive that a lock file names, which the ARG hands in
            [ -n "${PROVISION_SNAPSHOT:-}" ] || return 1
            if apt_has_comments; then
                apt_point_at_comments
                for apt_file in $(apt_files); do
                    sed -i -E "s#/$apt_dated( |\$)#/$PROVISION_SNAPSHOT\1#" "$apt_file"
                done
            else
                apt_point_at_snapshot "$PROVISION_SNAPSHOT" || {
                    echo "apt.sh: locked to $PROVISION_SNAPSHOT, but no snapshot is known here: the packages are today's" >&2
                    return 1
                }
            fi
            ;;
        own) return 0 ;;
        archive)
            url=$(apt_setting archive)
            [ -n "$url" ] || return 1
            apt_point_at "$url" "$(apt_archived_security "$url")"
            ;;
        comments)
            apt_has_comments || return 1
            apt_point_at_comments
            ;;
        snapshot) # a day behind the last: what was published on that day is in
            apt_point_at_snapshot "$(date -u -d "$release_end + 1 day" +%Y%m%dT000000Z)"
            ;;
        release) apt_leave_security_out ;;
    esac
}

apt_ended() { [ "$(date -u +%Y%m%d)" -gt "$(echo "$release_end" | tr -d -)" ]; }

# Run COMMAND with apt looking at one place after the other, until it succeeds.
apt_somewhere() { # COMMAND...
    apt_saved
    for apt_place in locked own archive comments snapshot release; do
        apt_restored
        apt_go_to "$apt_place" || continue
        if [ "$apt_place" != own ] && [ "$apt_place" != locked ]; then
            echo "apt.sh: support of this release ended on $release_end, and not all is there any more; next: $apt_place" >&2
        fi
        if "$@"; then
            case $apt_place in locked | archive | snapshot | release) apt_restored ;; esac
            return 0
        fi
        [ "$apt_place" != locked ] || break # what is locked comes from there or not at all
        apt_ended || break
    done
    apt_restored
    if apt_ended; then
        echo "apt.sh: support of this release ended on $release_end, and no place that is known here has it all" >&2
    fi
    return 100
}

apt_try() { apt-get update -qq && apt-get $apt_options install -y --no-install-recommends "$@"; }

apt_install() { # NAME[=VERSION]...
    # as a build wants it: nothing flushed to the disk file by file, archives kept in the cache mount
    echo force-unsafe-io > "$apt_root/etc/dpkg/dpkg.cfg.d/provision-build"
    {
        printf '%s\n' '#clear DPkg::Post-Invoke;' '#clear APT::Update::Post-Invoke;'
        if [ -s /run/secrets/ca ]; then echo 'Acquire::https::CAInfo "/run/secrets/ca";'; fi
    } > "$apt_root/etc/apt/apt.conf.d/zz-provision-build"
    apt_somewhere apt_try "$@"
}

apt_components() {
    for apt_file in $(apt_files); do
        sed -i -E "/^(# )?deb |^Components:/s/ main( .*)?\$/ main $*/" "$apt_file"
    done
}

apt_tidy() {
    rm -f "$apt_root/etc/dpkg/dpkg.cfg.d/provision-build" "$apt_root/etc/apt/apt.conf.d/zz-provision-build" \
        "$apt_root/usr/local/bin/py3compile"
    rm -rf /tmp/apt-sources "$apt_root/var/log/apt" "$apt_root/var/log/dpkg.log" "$apt_root"/var/cache/debconf/*-old \
        "$apt_root/var/cache/ldconfig"
}
