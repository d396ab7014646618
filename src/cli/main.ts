import { Command, CommanderError } from 'commander'
import { exitStatus, MlvError } from '../base/errors.ts'
import { silentProgress } from '../base/progress.ts'
import type { Project, Surroundings } from '../workspace/project.ts'
import type { Act } from './command.ts'
import type { Context } from './context.ts'
import { createOutput, type OutputOptions } from './output.ts'
import { COMMANDS, type CommandEntry } from './program.ts'
import { VERSION } from './version.ts'

interface GlobalOptions {
  directory?: string
  json?: boolean
  quiet?: boolean
  verbose?: boolean
  lockTimeout?: number
}

const GROUPS: CommandEntry['group'][] = ['Start', 'Data', 'Remotes', 'Pipelines', 'Experiments', 'Set-up']

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length)) + 2
  const groups = GROUPS.map((group) => {
    const rows = Object.entries(COMMANDS).filter(([, entry]) => entry.group === group && !entry.hidden)
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

Example:
  $ mlv init && mlv add data && git commit -m "Track data"
`
}

function addGlobalOptions(command: Command): void {
  const seconds = (text: string) => {
    const value = Number(text)
    if (!Number.isFinite(value) || value < 0)
      throw new MlvError('USAGE', `--lock-timeout takes seconds, not "${text}"`, { hint: 'For example --lock-timeout 60.' })
    return value
  }
  for (const sub of [command, ...command.commands]) {
    if (sub !== command) addGlobalOptions(sub)
    else
      sub
        .option('-C, --directory <dir>', 'run as if started in DIR')
        .option('--json', 'answer as JSON on stdout')
        .option('-q, --quiet', 'say nothing but answers and errors')
        .option('-v, --verbose', 'say more')
        .option('--lock-timeout <seconds>', 'how long to wait for another mlv', seconds)
  }
}

/** Reads the options of every command wherever they stand, before commander knows the command: errors, too, must be JSON with --json. */
function outputOptions(args: string[], env: Surroundings['env'], stdout: NodeJS.WriteStream): OutputOptions {
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args
  return {
    json: own.includes('--json'),
    quiet: own.includes('--quiet') || own.includes('-q'),
    verbose: own.includes('--verbose') || own.includes('-v'),
    color: Boolean(stdout.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb',
  }
}

async function main(args: string[]): Promise<number> {
  const output = createOutput(outputOptions(args, process.env, process.stdout), process.stdout, process.stderr)
  const interrupt = new AbortController()
  let project: Project | undefined
  let status = 0

  const act: Act =
    (handler) =>
    async (...given) => {
      const command = given.find((item): item is (typeof given)[number] & Command => item instanceof Command)
      const options = (command?.optsWithGlobals() ?? {}) as GlobalOptions
      const { resolve } = await import('node:path')
      const { createProgress } =
        output.quiet || output.json || !process.stderr.isTTY
          ? { createProgress: () => silentProgress }
          : await import('./progress-bar.ts')
      const surroundings: Surroundings = {
        cwd: resolve(options.directory ?? '.'),
        env: process.env,
        progress: createProgress(process.stderr),
        warn: output.warn,
        lockTimeout: options.lockTimeout,
        command: `mlv ${args.join(' ')}`.slice(0, 200),
        signal: interrupt.signal,
      }
      const context: Context = {
        output,
        surroundings,
        project: async () => {
          project ??= await (await import('../workspace/open-project.ts')).openProject(surroundings)
          return project
        },
      }
      status = (await handler(context, ...given)) ?? 0
    }

  const onSignal = () => {
    if (interrupt.signal.aborted) process.exit(130)
    interrupt.abort(
      new MlvError('INTERRUPTED', 'Interrupted', { hint: 'Run the same command again; it goes on where it stopped.' }),
    )
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  try {
    const name = args.find(
      (arg, i) =>
        !arg.startsWith('-') && args[i - 1] !== '-C' && args[i - 1] !== '--directory' && args[i - 1] !== '--lock-timeout',
    )
    if (name === undefined || (name === 'help' && args.length === 1)) {
      if (args.includes('--version') || args.includes('-V')) process.stdout.write(`mlv ${VERSION}\n`)
      else (args.includes('--help') || args.includes('-h') || name === 'help' ? process.stdout : process.stderr).write(overview())
      return args.some((arg) => ['--version', '-V', '--help', '-h', 'help'].includes(arg)) ? 0 : 2
    }
    const asked = name === 'help' ? args[args.indexOf('help') + 1] : name
    const entry = Object.hasOwn(COMMANDS, asked ?? '') ? COMMANDS[asked!] : undefined
    if (!entry) {
      const { nearest } = await import('./nearest.ts')
      const close = nearest(asked ?? '', Object.keys(COMMANDS))
      throw new MlvError('USAGE', `There is no command "${asked}"`, {
        hint: close ? `Did you mean "mlv ${close}"?` : 'See "mlv --help".',
      })
    }
    const { configure } = await entry.load()
    const program = new Command('mlv')
      .exitOverride()
      .enablePositionalOptions()
      .configureOutput({ writeErr: () => {} })
    const command = program.command(asked!).description(entry.summary).showSuggestionAfterError()
    configure(command, act)
    addGlobalOptions(command)
    for (const sub of [command, ...command.commands]) sub.exitOverride().configureOutput({ writeErr: () => {} })
    const rest = name === 'help' ? [asked!, '--help'] : reorder(args, name)
    await program.parseAsync(rest, { from: 'user' })
    await project?.close()
    return status
  } catch (error) {
    await project?.close().catch(() => {})
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0
      output.error(
        new MlvError('USAGE', error.message.replace(/^error: /, '').split('\n')[0]!, { hint: `See "mlv ${name(args)} --help".` }),
      )
      return 2
    }
    const failure = interrupt.signal.aborted ? interrupt.signal.reason : error
    if (failure instanceof MlvError) output.error(failure)
    else {
      process.stderr.write(`mlv ${VERSION} has a bug. Please report it with the command you ran and these lines:\n`)
      process.stderr.write(`${failure instanceof Error ? failure.stack : String(failure)}\n`)
    }
    return exitStatus(failure)
  }
}

function name(args: string[]): string {
  return args.find((arg) => Object.hasOwn(COMMANDS, arg)) ?? ''
}

/** Options that stand before the command move behind it: `mlv -C dir status` is `mlv status -C dir`. */
function reorder(args: string[], name: string): string[] {
  const at = args.indexOf(name)
  return [name, ...args.slice(0, at), ...args.slice(at + 1)]
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader has closed, as in "mlv diff | head".
  if (error.code === 'EPIPE') process.exit(0)
})
process.exitCode = await main(process.argv.slice(2))
