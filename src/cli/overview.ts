import { COMMANDS, type CommandEntry } from './program.ts'

const GROUPS: CommandEntry['group'][] = ['Start', 'Data', 'Remotes', 'Pipelines', 'Experiments', 'Set-up']

/** What `mlv --help` says. */
export function overview(): string {
  const shown = Object.entries(COMMANDS).filter(([, entry]) => !entry.hidden)
  const width = Math.max(...shown.map(([name]) => name.length)) + 2
  const groups = GROUPS.map((group) => {
    const rows = shown.filter(([, entry]) => entry.group === group)
    return rows.length === 0
      ? ''
      : `${group}:\n${rows.map(([name, entry]) => `  ${name.padEnd(width)}${entry.summary}`).join('\n')}\n`
  })
  return `Usage: mlv COMMAND [options]\n\n${groups.filter(Boolean).join('\n')}
Options of every command:
  -C, --directory DIR   run as if started in DIR
  --json                answer as JSON on stdout
  -q, --quiet           say nothing but answers and errors
  -v, --verbose         say more
  --lock-timeout SEC    how long to wait for another mlv
  -h, --help            help for a command
  -V, --version         mlv's version

Example:
  $ mlv init && mlv add data && git add . && git commit -m "Track data"
`
}
