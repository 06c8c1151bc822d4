# Completion of tokenfate's words for bash: commands as `tokenfate help` lists them, and the options
# of a command as its usage has them. Files are completed where a command takes one.
_tokenfate()
{
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} usage
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(tokenfate help | sed -n 's/^  tokenfate \([a-z]*\).*/\1/p')" -- "$word")
        return
    fi
    usage=$(tokenfate help "$command" 2>/dev/null | sed -n '1s/^usage: tokenfate [a-z]* *//p')
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "$(grep -oE -e '--[a-z-]+' <<<"$usage") --url --json --help" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$(grep -oE -e '(^|[ |])[a-z]+' <<<"$(sed 's/--[a-z-]*//g' <<<"$usage")" | tr -d ' |')" -- "$word") ;;
    esac
}
complete -o default -F _tokenfate tokenfate
