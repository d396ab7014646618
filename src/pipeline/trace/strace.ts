import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readdirSync, readSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileError, systemCode } from '../../base/errors.ts'
import { quotePath } from '../../base/paths.ts'
import { hasEnded } from '../../base/process-state.ts'
import type { Project } from '../../workspace/project.ts'
import { type CommandRun, findShellProblem, type Shell, shellWords } from '../executor/shell.ts'
import { createStraceParser, type FileEvent, TRACED_CALLS } from './strace-output.ts'

const TRACE = ['-f', '-q', '-y', '-e', `trace=${TRACED_CALLS.map((call) => `?${call}`).join(',')}`]

/** Without -DD strace waits for all that a command leaves running, without --seccomp-bpf every call stops the command: both need a strace of 2019. */
const WAYS = [['-DD', '--seccomp-bpf'], ['-DD'], ['--seccomp-bpf'], []].map((way) => [...TRACE, ...way])

/** ms that the last lines of a trace may take to arrive: the command may end a moment before strace has written them */
const LAST_LINES_MS = 10_000

/** What can watch a command here. */
export type Tracer = { kind: 'strace'; options: string[] } | { kind: 'none'; why: string; hint: string }

/** A folder for traces of this process; those that killed processes left are swept. */
export function openTraceFolder({ stateDir }: Pick<Project, 'stateDir'>): string {
  const parent = join(stateDir, 'trace')
  const folder = join(parent, `${process.pid}-${randomBytes(4).toString('hex')}`)
  try {
    mkdirSync(folder, { recursive: true })
    for (const name of readdirSync(parent))
      if (hasEnded(Number.parseInt(name, 10))) rmSync(join(parent, name), { recursive: true, force: true })
  } catch (error) {
    throw fileError(error, 'writing', folder)
  }
  return folder
}

/** Runs strace on a command that does nothing. @returns its error output, or undefined when there is no strace */
function probe(options: readonly string[], file: string, env: Record<string, string | undefined>): Promise<string | undefined> {
  return new Promise((done, fail) => {
    const child = spawn('strace', [...options, '-o', file, '--', '/bin/sh', '-c', ':'], {
      env: env as NodeJS.ProcessEnv,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr.on('data', (bytes: Buffer) => {
      said += bytes.toString()
    })
    child.once('error', (error) => {
      if (['ENOENT', 'EACCES'].includes(systemCode(error) ?? '')) done(undefined)
      else fail(error)
    })
    child.once('close', () => done(said))
  })
}

/** Finds out whether commands can be traced here: strace may be missing, and where it is not, ptrace may be forbidden. */
export async function findTracer(project: Pick<Project, 'stateDir' | 'surroundings'>): Promise<Tracer> {
  const folder = openTraceFolder(project)
  try {
    let said: string | undefined
    for (const [at, options] of WAYS.entries()) {
      const file = join(folder, `probe-${at}`)
      const output = await probe(options, file, project.surroundings.env)
      if (output === undefined)
        return process.platform === 'linux'
          ? { kind: 'none', why: 'strace is not on PATH', hint: 'Install it, for example with "apt-get install strace".' }
          : { kind: 'none', why: 'strace exists on Linux only', hint: 'Run it on Linux, for example in CI.' }
      let events = 0
      if (await readTrace(file, '/', () => events++, 500)) if (events > 0) return { kind: 'strace', options }
      said ??= output.trim().split('\n').at(-1)
    }
    return {
      kind: 'none',
      why: `strace may not trace here${said ? ` (${said})` : ''}`,
      hint: 'Containers often forbid ptrace: start them with --cap-add=SYS_PTRACE.',
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Reads a trace to its end, which may still be on its way. @returns whether the end was there */
async function readTrace(file: string, cwd: string, tell: (event: FileEvent) => void, patience: number): Promise<boolean> {
  const parser = createStraceParser(cwd)
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw fileError(error, 'reading', file)
  }
  try {
    const buffer = Buffer.alloc(1 << 20)
    let rest = ''
    const deadline = performance.now() + patience
    for (;;) {
      const length = readSync(fd, buffer)
      if (length > 0) {
        // strace escapes all that is not ASCII.
        const lines = (rest + buffer.toString('latin1', 0, length)).split('\n')
        rest = lines.pop()!
        for (const line of lines) for (const event of parser.take(line)) tell(event)
      } else if (parser.ended || performance.now() > deadline) return parser.ended
      else await sleep(5)
    }
  } finally {
    closeSync(fd)
  }
}

/** Lets another shell run commands under strace, and tells what they did to files once each has ended.
 *  @param folder for the traces   @param tell told each event in order   @returns also whether every trace was whole, and how many commands ran */
export function createTracingShell(
  inner: Shell,
  { options, folder, tell }: { options: readonly string[]; folder: string; tell: (event: FileEvent) => void },
): Shell & { readonly isWhole: boolean; readonly commands: number } {
  let count = 0
  let isWhole = true
  return {
    get isWhole() {
      return isWhole
    },
    get commands() {
      return count
    },
    async run(run: CommandRun) {
      const problem = findShellProblem(run)
      if (problem) return problem
      const file = join(folder, String(count++))
      const words = ['strace', ...options, '-o', file, '--', ...shellWords(run), '-c', run.command]
      const end = await inner.run({ ...run, shell: '', command: `exec ${words.map(quotePath).join(' ')}` })
      if (end.kind === 'done' && !(await readTrace(file, run.cwd, tell, LAST_LINES_MS))) isWhole = false
      rmSync(file, { force: true })
      return end
    },
  }
}
