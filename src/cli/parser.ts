import { Command, Option } from 'commander'
import { MlvError } from '../base/errors.ts'
import type { Act, Configure } from './command.ts'

/** The options of every command, as commander names them. */
export interface GlobalOptions {
  directory?: string
  json?: boolean
  quiet?: boolean
  verbose?: boolean
  lockTimeout?: number
}

const GROUP = 'Options of every command:'

function parseSeconds(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value
  throw new MlvError('USAGE', `--lock-timeout takes seconds, not "${text}"`, { hint: 'For example --lock-timeout 60.' })
}

/** Adds what every command has, at every level: `mlv remote -C dir list` and `mlv remote list -C dir` mean the same. */
function complete(command: Command): void {
  const own = new Set(command.options.flatMap((option) => [option.short, option.long]))
  const add = (flags: string, words: string, parse?: (text: string) => unknown) => {
    const option = new Option(flags, words).helpGroup(GROUP)
    if (own.has(option.long)) return
    if (option.short && own.has(option.short)) option.short = undefined
    if (parse) option.argParser(parse)
    command.addOption(option)
  }
  add('-C, --directory <dir>', 'run as if started in DIR')
  add('--json', 'answer as JSON on stdout')
  add('-q, --quiet', 'say nothing but answers and errors')
  add('-v, --verbose', 'say more')
  add('--lock-timeout <seconds>', 'how long to wait for another mlv', parseSeconds)
  command.addHelpOption(new Option('-h, --help', 'show this help').helpGroup(GROUP)).helpCommand(false)
  // The caller prints errors itself: in one shape, and as JSON where asked.
  command
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .showSuggestionAfterError()
  // Options after a sub-command's name are the sub-command's, so that values and what follows `--` stay whole.
  if (command.commands.length > 0) command.enablePositionalOptions()
  for (const sub of command.commands) complete(sub)
}

/** Builds the parser of one verb, as `mlv NAME …` is read. */
export function createParser(
  name: string,
  summary: string,
  configure: Configure,
  act: Act,
): { program: Command; command: Command } {
  const program = new Command('mlv')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
  const command = program.command(name).description(summary)
  configure(command, act)
  complete(command)
  return { program, command }
}
