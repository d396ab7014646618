import type { CommandWords, OptionWords } from '../vocabulary.ts'

function flags(options: OptionWords[]): string[] {
  return options.flatMap(({ short, long }) => [long, short]).filter((flag) => flag !== undefined)
}

function withValue(vocabulary: CommandWords[]): string[] {
  return [...new Set(vocabulary.flatMap(({ options }) => flags(options.filter((option) => option.takesValue))))]
}

function tops(vocabulary: CommandWords[]): CommandWords[] {
  return vocabulary.filter(({ path }) => !path.includes(' '))
}

/** A script for bash: `eval "$(mlv completion bash)"`. Where no word fits, bash completes file names. */
export function bashScript(vocabulary: CommandWords[]): string {
  const cases = (pick: (command: CommandWords) => string[]) =>
    vocabulary
      .filter((command) => pick(command).length > 0)
      .map((command) => `    "${command.path}") words="${pick(command).join(' ')}" ;;`)
      .join('\n')
  return `# bash completion for mlv
_mlv() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      --) return ;;
      ${withValue(vocabulary).join('|')}) ((i++)) ;;
      -*) ;;
      *)
        case " $(_mlv_subs "$command") " in
          *" $word "*) command="\${command:+$command }$word" ;;
        esac ;;
    esac
  done
  case "$previous" in
    ${withValue(vocabulary).join('|')}) return ;;
  esac
  if [[ "$current" == -* ]]; then words="$(_mlv_options "$command")"; else words="$(_mlv_subs "$command")"; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
_mlv_subs() {
  local words=""
  case "$1" in
    "") words="${[...tops(vocabulary).map(({ name }) => name), 'help'].join(' ')}" ;;
${cases((command) => command.subs)}
  esac
  printf '%s' "$words"
}
_mlv_options() {
  local words="-C --directory --json --quiet --verbose --help --version"
  case "$1" in
${cases((command) => flags(command.options))}
  esac
  printf '%s' "$words"
}
complete -o default -F _mlv mlv
`
}

/** Quotes for single quotes in zsh and fish. */
function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "'\\''")}'`
}

/** A script for zsh, as the file _mlv in a folder of $fpath. */
export function zshScript(vocabulary: CommandWords[]): string {
  const item = (name: string, words: string) => quote(`${name.replaceAll(':', '\\:')}:${words}`)
  const byPath = new Map(vocabulary.map((command) => [command.path, command]))
  const subs = vocabulary
    .filter((command) => command.subs.length > 0)
    .map(
      (command) =>
        `    ${quote(command.path)}) items=(${command.subs.map((name) => item(name, byPath.get(`${command.path} ${name}`)?.words ?? '')).join(' ')}) ;;`,
    )
  const options = vocabulary.map(
    (command) =>
      `    ${quote(command.path)}) items=(${command.options.flatMap((option) => flags([option]).map((flag) => item(flag, option.words))).join(' ')}) ;;`,
  )
  return `#compdef mlv
# zsh completion for mlv
_mlv_subs() {
  case "$1" in
    '') items=(${tops(vocabulary)
      .map(({ name, words }) => item(name, words))
      .join(' ')}) ;;
${subs.join('\n')}
    *) items=() ;;
  esac
}
_mlv_options() {
  case "$1" in
${options.join('\n')}
    *) items=('-C:run as if started in another folder' '--help:show help' '--version:show the version') ;;
  esac
}
_mlv() {
  local command='' word i
  local -a items
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    case "$word" in
      --) _files; return ;;
      ${withValue(vocabulary).join('|')}) ((i++)) ;;
      -*) ;;
      *)
        _mlv_subs "$command"
        if (( \${items[(I)$word:*]} )); then command="\${command:+$command }$word"; fi ;;
    esac
  done
  case "\${words[CURRENT-1]}" in
    ${withValue(vocabulary).join('|')}) _files; return ;;
  esac
  if [[ "\${words[CURRENT]}" == -* ]]; then
    _mlv_options "$command"
    _describe -o option items
  else
    _mlv_subs "$command"
    if (( \${#items} )); then _describe command items; else _files; fi
  fi
}
if [ "$funcstack[1]" = "_mlv" ]; then _mlv "$@"; else compdef _mlv mlv; fi
`
}

/** A script for fish, as the file mlv.fish in its completions folder. */
export function fishScript(vocabulary: CommandWords[]): string {
  const lines = ['# fish completion for mlv']
  const all = tops(vocabulary).map(({ name }) => name)
  for (const { name, words } of tops(vocabulary))
    lines.push(`complete -c mlv -n 'not __fish_seen_subcommand_from ${all.join(' ')}' -f -a ${name} -d ${quote(words)}`)
  for (const command of vocabulary) {
    const [top, sub] = command.path.split(' ')
    const seen = `__fish_seen_subcommand_from ${top}${sub ? `; and __fish_seen_subcommand_from ${sub}` : ''}`
    for (const name of command.subs) {
      const words = vocabulary.find(({ path }) => path === `${command.path} ${name}`)?.words ?? ''
      lines.push(
        `complete -c mlv -n '${seen}; and not __fish_seen_subcommand_from ${command.subs.join(' ')}' -f -a ${name} -d ${quote(words)}`,
      )
    }
    for (const { short, long, words, takesValue } of command.options)
      lines.push(
        `complete -c mlv -n '${seen}'${short ? ` -s ${short.slice(1)}` : ''}${long ? ` -l ${long.slice(2)}` : ''}${takesValue ? ' -r' : ''} -d ${quote(words)}`,
      )
  }
  return `${lines.join('\n')}\n`
}
