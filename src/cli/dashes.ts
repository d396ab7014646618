import type { Command } from 'commander'

/** The words behind the first `--` of the command line, which commander takes out; none without it. */
export function wordsBehindDashes(command: Command): string[] {
  let root = command
  while (root.parent) root = root.parent
  const typed = (root as Command & { rawArgs: string[] }).rawArgs
  const dashes = typed.indexOf('--')
  return dashes < 0 ? [] : typed.slice(dashes + 1)
}
