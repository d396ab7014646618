import { type ChildProcess, spawn } from 'node:child_process'
import { setMaxListeners } from 'node:events'
import { constants } from 'node:os'
import type { Duplex, Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { systemCode } from '../../base/errors.ts'
import { faultPoint } from '../../base/fault-point.ts'
import { findProgram } from '../../base/find-program.ts'
import { groupRuns } from '../../base/process-group.ts'
import { createGate, GATE } from './gate.ts'

/** One command of a stage. */
export interface CommandRun {
  command: string
  /** the shell and its options; -c and the command follow. '' is /bin/sh */
  shell: string
  /** absolute */
  cwd: string
  env: Record<string, string | undefined>
  /** seconds */
  timeout?: number
  /** aborted: the command is asked to stop, then made to */
  signal?: AbortSignal
  /** told the process group before the command begins, when it has one on this machine; what it throws keeps the command from beginning */
  onStart?: (group: number) => void
  /** told what it prints; a promise holds it back until it settles */
  onOutput: (bytes: Buffer, from: 'stdout' | 'stderr') => void | Promise<void>
}

export type CommandEnd =
  /** `left`: the process group of what it left running */
  | { kind: 'done'; left?: number }
  | { kind: 'failed'; status: number }
  | { kind: 'killed'; signal: string }
  /** `why` and `hint` are sentences without and with a full stop */
  | { kind: 'not started'; why: string; hint: string }
  | { kind: 'timed out' }
  | { kind: 'interrupted' }

/** Runs commands on this machine. Its promise settles when the command has ended and what it printed has been told. */
export interface Shell {
  run(run: CommandRun): Promise<CommandEnd>
}

/** ms between asking a command to stop and the next, firmer signal */
const PATIENCE = 5000

/** A shell reports a child that a signal ended as 128 plus its number. */
function signalOf(status: number): string | undefined {
  return Object.entries(constants.signals).find(([, number]) => number === status - 128)?.[0]
}

function endOf(status: number | null, signal: NodeJS.Signals | null): CommandEnd {
  if (signal) return { kind: 'killed', signal }
  if (status === 0) return { kind: 'done' }
  const name = status !== null && status > 128 ? signalOf(status) : undefined
  return name ? { kind: 'killed', signal: name } : { kind: 'failed', status: status ?? -1 }
}

const SYSTEM_SHELL = '/bin/sh'

/** The shell of a command and its options. */
export function shellWords({ shell }: Pick<CommandRun, 'shell'>): string[] {
  const words = shell.split(/\s+/).filter(Boolean)
  return words.length > 0 ? words : [SYSTEM_SHELL]
}

type NotStarted = Extract<CommandEnd, { kind: 'not started' }>

function notStarted(run: CommandRun, error: unknown): NotStarted {
  const kind = 'not started'
  if (systemCode(error) === 'E2BIG')
    return { kind, why: 'the command and the environment are too long for this system', hint: 'Put the command into a script.' }
  const words = shellWords(run)
  return {
    kind,
    why: `${words.join(' ')} could not be started in ${run.cwd}: ${(error as Error).message}`,
    hint: `Check that ${words[0]} and the folder exist.`,
  }
}

/** What keeps a command's shell from being started, seen before anything is. */
export function findShellProblem(run: CommandRun): NotStarted | undefined {
  if (run.shell === '' || findProgram([shellWords(run)[0]!], run) !== undefined) return undefined
  return notStarted(run, new Error('not found, or no program that may be executed'))
}

/** What the gate calls. The system's shell may drop variables whose names are none to it, such as exported functions of bash: other shells get these
 *  by `env`. */
function gatedWords(run: CommandRun): string[] {
  const foreign =
    run.shell === '' ? [] : Object.entries(run.env).filter(([name, value]) => value !== undefined && !/^[A-Za-z_]\w*$/.test(name))
  const env = foreign.length > 0 ? ['env', ...foreign.map(([name, value]) => `${name}=${value}`)] : []
  return [...env, ...shellWords(run), '-c', run.command]
}

/** Time that output still on its way is given after the command has ended: what it left in the background may hold its end open for ever. */
const LAST_OUTPUT_MS = 100
/** And all told: what it left may go on printing for ever. Time that its reader takes is not counted. */
const LATE_OUTPUT_MS = 1000

/** Passes on what comes out of a stream. @returns when it has ended, or has been silent for a while after `ended` */
function pass(stream: Readable, tell: (bytes: Buffer) => void | Promise<void>, ended: Promise<unknown>): Promise<void> {
  return new Promise((done) => {
    let timer: NodeJS.Timeout | undefined
    let endedAt: number | undefined
    let heldMs = 0
    let told = 0
    const finish = () => {
      clearTimeout(timer)
      done()
    }
    const stop = () => {
      stream.destroy()
      finish()
    }
    const wait = () => {
      clearTimeout(timer)
      if (endedAt === undefined) return
      const left = endedAt + heldMs + LATE_OUTPUT_MS - performance.now()
      if (left <= 0) return stop()
      // What came while this process was busy is read before it counts as silent.
      const last = told
      timer = setTimeout(() => setImmediate(() => last === told && stop()), Math.min(LAST_OUTPUT_MS, left))
    }
    stream.on('data', (bytes: Buffer) => {
      told++
      const held = tell(bytes)
      if (!held) return wait()
      stream.pause()
      clearTimeout(timer)
      const since = performance.now()
      void held.then(() => {
        if (endedAt !== undefined) heldMs += performance.now() - Math.max(since, endedAt)
        stream.resume()
        wait()
      })
    })
    stream.once('close', finish)
    stream.once('error', finish)
    void ended.then(() => {
      endedAt = performance.now()
      wait()
    })
  })
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal)
  } catch (error) {
    if (systemCode(error) !== 'ESRCH' && systemCode(error) !== 'EPERM') throw error
  }
}

const running = new Set<number>()
let watchesExit = false

/** A second Ctrl-C ends this process at once; a command must not live on behind it. */
function endWithProcess(group: number): void {
  running.add(group)
  if (watchesExit) return
  watchesExit = true
  process.once('exit', () => {
    for (const group of running) signalGroup(group, 'SIGKILL')
  })
}

/** What a command started may end a moment after it, as an mlv that tidies up does, and strace. ms */
const LAST_BREATH_MS = 1000
const LOOK_EVERY_MS = 20

async function staysAlive(group: number): Promise<boolean> {
  for (let waited = 0; waited < LAST_BREATH_MS; waited += LOOK_EVERY_MS) {
    await pause(LOOK_EVERY_MS)
    if (!groupRuns(group)) return false
  }
  return true
}

/** Each command gets a process group of its own, so that stopping one stops all it started. */
export function createShell(): Shell {
  return {
    run: (run) =>
      new Promise((done, fail) => {
        const problem = findShellProblem(run)
        if (problem) return done(problem)
        let child: ChildProcess
        try {
          child = spawn(SYSTEM_SHELL, ['-c', GATE, 'mlv', ...gatedWords(run)], {
            cwd: run.cwd,
            // Python would keep what it prints to itself until it ends.
            env: { PYTHONUNBUFFERED: '1', ...run.env } as NodeJS.ProcessEnv,
            stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
            detached: true,
          })
        } catch (error) {
          // What is too long is not told by an event.
          done(notStarted(run, error))
          return
        }
        const group = child.pid
        if (group === undefined) {
          // It has no descriptors either where there are none left. An event tells why.
          child.once('error', (error) => done(notStarted(run, error)))
          return
        }
        let why: 'timed out' | 'interrupted' | undefined
        const timers: NodeJS.Timeout[] = []
        const send = (signal: NodeJS.Signals) => signalGroup(group, signal)
        const stop = (reason: 'timed out' | 'interrupted') => {
          if (why) return
          why = reason
          send('SIGINT')
          timers.push(
            setTimeout(() => send('SIGTERM'), PATIENCE),
            setTimeout(() => send('SIGKILL'), 2 * PATIENCE),
          )
        }
        const onAbort = () => stop('interrupted')
        const settle = () => {
          for (const timer of timers) clearTimeout(timer)
          run.signal?.removeEventListener('abort', onAbort)
          running.delete(group)
        }
        if (run.timeout !== undefined) timers.push(setTimeout(() => stop('timed out'), run.timeout * 1000))
        if (run.signal) setMaxListeners(0, run.signal)
        run.signal?.addEventListener('abort', onAbort)
        endWithProcess(group)
        const ended = new Promise<CommandEnd>((end) => {
          child.once('exit', (status, signal) => {
            settle()
            const ending: CommandEnd = why ? { kind: why } : endOf(status, signal)
            // What a command left running in the background that was stopped, or failed: it may be tried again, and is of no use.
            if (ending.kind !== 'done') send('SIGTERM')
            end(ending)
          })
        })
        let failure: { error: unknown } | undefined
        const gate = createGate(child.stdio[3] as Duplex)
        try {
          run.onStart?.(group)
          faultPoint('command: begin')
          if (run.signal?.aborted) gate.close()
          else gate.open()
        } catch (error) {
          // Nobody would know of it: it could not be noted, on a full disk for instance.
          failure = { error }
          gate.close()
        }
        const tell = (bytes: Buffer, from: 'stdout' | 'stderr') => {
          try {
            return failure ? undefined : run.onOutput(bytes, from)
          } catch (error) {
            // Its log cannot be written, on a full disk for instance: thrown here it would end this process.
            failure = { error }
            stop('interrupted')
          }
        }
        const told = (['stdout', 'stderr'] as const).map((from) => pass(child[from]!, (bytes) => tell(bytes, from), ended))
        void Promise.all([ended, ...told]).then(([end]) => {
          if (failure) return fail(failure.error)
          if (end.kind !== 'done' || !groupRuns(group)) done(end)
          else void staysAlive(group).then((left) => done(left ? { ...end, left: group } : end))
        })
        if (run.signal?.aborted) onAbort()
      }),
  }
}
