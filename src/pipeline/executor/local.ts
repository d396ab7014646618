import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import { MlvError, systemCode } from '../../base/errors.ts'
import type { CommandEnd, CommandRun, Executor } from './executor.ts'

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

function notStarted(run: CommandRun, error: unknown): unknown {
  if (systemCode(error) === 'E2BIG')
    return new MlvError('STAGE_FAILED', 'The command and the environment are too long for this system', {
      hint: 'Put the command into a script.',
      cause: error,
    })
  return new MlvError('STAGE_FAILED', `The shell could not be started in ${run.cwd}: ${(error as Error).message}`, {
    hint: 'Check that /bin/sh and the folder exist.',
    cause: error,
  })
}

/** Runs commands on this machine by `/bin/sh -c`, each in a process group of its own, so that stopping one stops all it started.
 *  @param stdout 'stderr' keeps stdout clean for an answer in JSON */
export function createLocalExecutor(stdout: 'stdout' | 'stderr'): Executor {
  return {
    run: (run) =>
      new Promise((done, fail) => {
        let child: ChildProcess
        try {
          child = spawn('/bin/sh', ['-c', run.command], {
            cwd: run.cwd,
            env: run.env as NodeJS.ProcessEnv,
            stdio: ['ignore', stdout === 'stderr' ? 2 : 'inherit', 'inherit'],
            detached: true,
          })
        } catch (error) {
          // What is too long is not told by an event.
          fail(notStarted(run, error))
          return
        }
        if (child.pid !== undefined) run.onStart?.(child.pid)
        let why: 'timed out' | 'interrupted' | undefined
        const timers: NodeJS.Timeout[] = []
        const send = (signal: NodeJS.Signals) => {
          try {
            if (child.pid !== undefined) process.kill(-child.pid, signal)
          } catch (error) {
            if (systemCode(error) !== 'ESRCH' && systemCode(error) !== 'EPERM') throw error
          }
        }
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
        const onExit = () => send('SIGKILL')
        const settle = () => {
          for (const timer of timers) clearTimeout(timer)
          run.signal?.removeEventListener('abort', onAbort)
          process.removeListener('exit', onExit)
        }
        if (run.timeout !== undefined) timers.push(setTimeout(() => stop('timed out'), run.timeout * 1000))
        run.signal?.addEventListener('abort', onAbort)
        // A second Ctrl-C ends this process at once; the command must not live on behind it.
        process.once('exit', onExit)
        child.once('error', (error) => {
          settle()
          fail(notStarted(run, error))
        })
        child.once('exit', (status, signal) => {
          settle()
          // What a stopped command left running in the background.
          if (why) send('SIGTERM')
          done(why ? { kind: why } : endOf(status, signal))
        })
        if (run.signal?.aborted) onAbort()
      }),
  }
}
