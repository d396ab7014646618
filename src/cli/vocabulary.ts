import type { Command } from 'commander'
import { createParser } from './parser.ts'
import { COMMANDS } from './program.ts'

export interface OptionWords {
  short: string | undefined
  long: string | undefined
  words: string
  takesValue: boolean
}

/** One command or sub-command, as a shell completes it. */
export interface CommandWords {
  /** `remote`, `remote add` */
  path: string
  name: string
  words: string
  subs: string[]
  options: OptionWords[]
}

function describe(command: Command, path: string): CommandWords[] {
  const own: CommandWords = {
    path,
    name: command.name(),
    words: command.summary() || command.description(),
    subs: command.commands.map((sub) => sub.name()),
    options: [
      ...command.options
        .filter((option) => !option.hidden)
        .map((option) => ({ short: option.short, long: option.long, words: option.description, takesValue: option.required })),
      { short: '-h', long: '--help', words: 'show help', takesValue: false },
    ],
  }
  return [own, ...command.commands.flatMap((sub) => describe(sub, `${path} ${sub.name()}`))]
}

/** Loads every command and says which words may follow which. */
export async function readVocabulary(): Promise<CommandWords[]> {
  const all = await Promise.all(
    Object.entries(COMMANDS)
      .filter(([, entry]) => !entry.hidden)
      .map(async ([name, entry]) => {
        const { configure } = await entry.load()
        const { command } = createParser(name, entry.summary, configure, () => async () => {})
        return describe(command, name)
      }),
  )
  return all.flat()
}
