import type { Command } from 'commander'
import type { Context } from './context.ts'

/** Wraps a handler into a commander action: opens the context, runs, sets the exit status it returns (0 when it returns none). */
export type Act = <A extends unknown[]>(
  handler: (context: Context, ...args: A) => Promise<number | undefined> | Promise<void>,
) => (...args: A) => Promise<void>

/** Each file in commands/ exports one: it adds arguments, options, sub-commands and an example to `command`.
 *  The options of every command (-C, --json, --quiet, --verbose, --lock-timeout) are added by program.ts. */
export type Configure = (command: Command, act: Act) => void

/** The example every --help ends with. */
export function example(command: Command, ...lines: string[]): void {
  command.addHelpText('after', `\nExample:\n${lines.map((line) => `  $ ${line}`).join('\n')}`)
}
