import { realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command, CommanderError } from 'commander'
import { exitStatus, fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import { removeOwnTemporaries } from '../base/own-temporaries.ts'
import { silentProgress } from '../base/progress.ts'
import type { Project, Surroundings } from '../workspace/project.ts'
import type { Act } from './command.ts'
import type { Context } from './context.ts'
import { createOutput, type Output, type OutputOptions } from './output.ts'
import { createParser, type GlobalOptions } from './parser.ts'
import { COMMANDS } from './program.ts'
import { VERSION } from './version.ts'

export { COMMANDS }

/** Options of every command that are followed by a value. */
const WITH_VALUE = ['-C', '--directory', '--lock-timeout']

interface Words {
  /** options that stand before the command */
  before: string[]
  /** the command, if any word is one */
  name: string | undefined
  after: string[]
}

function splitWords(args: string[]): Words {
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!
    if (WITH_VALUE.includes(word)) i++
    else if (word === '--') break
    else if (!word.startsWith('-')) return { before: args.slice(0, i), name: word, after: args.slice(i + 1) }
  }
  return { before: args, name: undefined, after: [] }
}

/** Guesses, before a parser is known, how errors are to be printed; the parsed options replace the guess. */
function guessOutput(args: string[]): OutputOptions {
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args
  return {
    json: own.includes('--json'),
    quiet: own.includes('--quiet') || own.includes('-q'),
    verbose: own.includes('--verbose') || own.includes('-v'),
    color: hasColor(),
  }
}

function hasColor(): boolean {
  return Boolean(process.stdout.isTTY) && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
}

/** The folder to run in, links followed, as a shell's `cd` would leave it. @throws PATH_MISSING, PATH_INVALID */
function findFolder(typed: string | undefined): string {
  let current: string
  try {
    current = process.cwd()
  } catch (error) {
    throw new MlvError('PATH_MISSING', 'The current folder no longer exists', {
      hint: 'Change to another folder with "cd".',
      cause: error,
    })
  }
  if (typed === undefined) return current
  const folder = resolve(current, typed)
  const stats = statSync(folder, { throwIfNoEntry: false })
  if (!stats) throw new MlvError('PATH_MISSING', `No such folder: ${typed}`, { hint: 'Check the path given with -C.' })
  if (!stats.isDirectory()) throw new MlvError('PATH_INVALID', `${typed} is not a folder`, { hint: '-C takes a folder.' })
  return realpathSync(folder)
}

/** The command line for the lock file, which others may read: without secrets. */
function describeCommand(args: string[]): string {
  const secret = /secret|token|access_key|:\/\/[^/@\s]*:[^/@\s]*@/i
  return (args.some((word) => secret.test(word)) ? `mlv ${splitWords(args).name} …` : `mlv ${args.join(' ')}`).slice(0, 200)
}

/** What commander has to say, as an error of ours; undefined when it has printed help and all is well. */
function usageError(error: CommanderError, command: Command | undefined, [name, ...rest]: string[]): MlvError | undefined {
  if (error.exitCode === 0) return undefined
  const [first = '', second] = error.message.split('\n')
  const subs = command?.commands.map((sub) => sub.name()) ?? []
  const sub = rest.find((word) => !word.startsWith('-'))
  const help = `See "mlv ${sub !== undefined && subs.includes(sub) ? `${name} ${sub}` : name} --help".`
  if (error.code === 'commander.help')
    return new MlvError('USAGE', `"mlv ${name}" needs one of: ${subs.join(', ')}`, { hint: help })
  const suggestion = /^\(Did you mean (.*)\?\)$/.exec(second ?? '')?.[1]
  const message = first.replace(/^error: (.)/, (_all, letter: string) => letter.toUpperCase())
  return new MlvError('USAGE', message, {
    hint: suggestion ? `Did you mean "${suggestion}"? ${help}` : help,
  })
}

async function unknownCommand(typed: string): Promise<MlvError> {
  const [{ nearest }, { hintForOtherWord }] = await Promise.all([import('./nearest.ts'), import('./other-words.ts')])
  const close = nearest(
    typed,
    Object.keys(COMMANDS).filter((name) => !COMMANDS[name]!.hidden),
  )
  return new MlvError('USAGE', `There is no command "${typed}"`, {
    hint: hintForOtherWord(typed) ?? (close ? `Did you mean "mlv ${close}"?` : 'See "mlv --help".'),
  })
}

function printBug(error: unknown): void {
  process.stderr.write(`mlv ${VERSION} has a bug. Please report it with the command you ran and these lines:\n`)
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
}

/** What the system says of its disk and its permissions is no bug of ours, wherever it is met. */
function systemFailure(error: unknown): unknown {
  const { syscall = '', path } = (error ?? {}) as NodeJS.ErrnoException
  if (!['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'EISDIR', 'ENOTDIR'].includes(systemCode(error) ?? ''))
    return error
  return fileError(error, /^(open|read|.*stat|scandir|access|realpath)/.test(syscall) ? 'reading' : 'writing', path ?? 'a file')
}

/** A reader that closes early, as in `mlv diff | head`, is no failure and stops no work; a full disk is one. */
function watchStreams(): () => number {
  let status = 0
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return
    if (status === 0)
      process.stderr.write(
        `error: The answer cannot be written: ${error.message}\n  Free some space where it goes, then run the command again.\n`,
      )
    status = exitStatus(new MlvError('DISK_FULL', error.message))
    // It may come after the answer was handed over and the status returned.
    process.exitCode = status
  })
  process.stderr.on('error', () => {})
  return () => status
}

/** Runs one command line to its end. @returns the exit status; nothing is thrown */
export async function run(args: string[]): Promise<number> {
  const streamStatus = watchStreams()
  const interrupt = new AbortController()
  let clearProgress = () => {}
  const makeOutput = (options: OutputOptions) => createOutput(options, process)
  let output: Output = makeOutput(guessOutput(args))
  let project: Project | undefined
  let status = 0
  let name = ''
  let command: Command | undefined

  const act: Act =
    (handler) =>
    async (...given) => {
      const asked = given.find((item): item is (typeof given)[number] & Command => item instanceof Command)
      const options = (asked?.optsWithGlobals() ?? {}) as GlobalOptions
      output = makeOutput({
        json: options.json ?? false,
        quiet: options.quiet ?? false,
        verbose: options.verbose ?? false,
        color: hasColor(),
      })
      const surroundings: Surroundings = {
        cwd: findFolder(options.directory),
        env: process.env,
        progress: silentProgress,
        warn: output.warn,
        lockTimeout: options.lockTimeout,
        command: describeCommand(args),
        signal: interrupt.signal,
      }
      if (process.stderr.isTTY && !output.quiet) {
        const { createProgress } = await import('./progress-bar.ts')
        const progress = createProgress(process.stderr)
        clearProgress = progress.clear
        output.attach(progress.clear)
        surroundings.progress = progress
      }
      const context: Context = {
        output,
        surroundings,
        project: async () => {
          if (!project) {
            const [{ openProject }, { lockOuts }] = await Promise.all([
              import('../workspace/open-project.ts'),
              import('../pipeline/lock-outs.ts'),
            ])
            project = await openProject(surroundings, lockOuts)
          }
          return project
        },
      }
      status = (await handler(context, ...given)) ?? 0
    }

  const onSignal = () => {
    if (interrupt.signal.aborted) {
      removeOwnTemporaries()
      process.exit(130)
    }
    interrupt.abort(
      new MlvError('INTERRUPTED', 'Interrupted', { hint: 'Run the same command again; it goes on where it stopped.' }),
    )
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)

  async function perform(): Promise<void> {
    const words = splitWords(args)
    const wantsHelp = words.name === 'help'
    const [first, ...rest] = wantsHelp
      ? [...words.after.filter((word) => !word.startsWith('-')), '--help']
      : [words.name, ...words.after]
    if (first === undefined || first === '--help') {
      const { overview } = await import('./overview.ts')
      const asked = wantsHelp || words.before.some((word) => word === '--help' || word === '-h')
      if (asked) process.stdout.write(overview())
      else if (words.before.some((word) => word === '--version' || word === '-V'))
        output.answer({ mlv: VERSION }, () => `mlv ${VERSION}`)
      else if (words.before.length > 0)
        throw new MlvError('USAGE', `No command is given, only "${words.before.join(' ')}"`, { hint: 'See "mlv --help".' })
      else {
        process.stderr.write(overview())
        status = 2
      }
      return
    }
    const entry = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined
    if (!entry) throw await unknownCommand(first)
    name = first
    const { configure } = await entry.load()
    const parser = createParser(first, entry.summary, configure, act)
    command = parser.command
    // `mlv -C dir status` is `mlv status -C dir`, and `mlv --help remote add` asks about `remote add`.
    const isHelp = (word: string) => word === '--help' || word === '-h'
    const line = [first, ...words.before.filter((word) => !isHelp(word)), ...rest, ...words.before.filter(isHelp)]
    await parser.program.parseAsync(line, { from: 'user' })
    // The answer is out: what is left to do serves later commands.
    await project?.mergeIndexes()
    await project?.close()
    project = undefined
  }

  try {
    await perform()
    clearProgress()
    return interrupt.signal.aborted ? 130 : streamStatus() || status
  } catch (error) {
    clearProgress()
    await project?.close().catch(() => {})
    const thrown =
      error instanceof CommanderError ? usageError(error, command, [name, ...splitWords(args).after]) : systemFailure(error)
    if (thrown === undefined) return streamStatus()
    const failure = interrupt.signal.aborted && !hasCode(thrown, 'STAGE_FAILED', 'INTERRUPTED') ? interrupt.signal.reason : thrown
    if (failure instanceof MlvError || output.json) output.error(failure)
    else printBug(failure)
    return interrupt.signal.aborted ? 130 : exitStatus(failure)
  }
}
