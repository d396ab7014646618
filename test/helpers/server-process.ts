import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findProgram as findExecutable } from '../../src/base/find-program.ts'

/** @returns the first program of that name in `folders` or on PATH. */
export function findProgram(name: string, folders: string[] = []): string | undefined {
  const PATH = [...folders, process.env.PATH ?? ''].join(delimiter)
  return findExecutable([name], { env: { PATH } })
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

export interface ServerCommand {
  program: string
  args: (port: number, folder: string) => string[]
  env?: Record<string, string>
  /** throws, or answers false, until the server is ready */
  isReady: (port: number) => Promise<boolean>
  /** seconds until it must be ready */
  patience: number
}

export interface RunningServer {
  port: number
  /** where it runs and keeps its data; temporary */
  folder: string
  stop(): Promise<void>
}

/** Starts a server in a temporary folder, on a free port of loopback, and waits until it is ready. Another process may take the port in between: a server that ends at once is tried again on another.
 *  `stop` ends it with all its children and removes the folder, as does the end of this process. */
export async function startServer(command: ServerCommand): Promise<RunningServer> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    try {
      return await startOn(port, command)
    } catch (error) {
      if (attempt === 3) throw error
    }
  }
}

async function startOn(port: number, command: ServerCommand): Promise<RunningServer> {
  const folder = mkdtempSync(join(tmpdir(), `mlv-test-${basename(command.program)}-`))
  // A process group of its own, so that the workers a server forks end with it.
  const child = spawn(command.program, command.args(port, folder), {
    cwd: folder,
    // What it leaves in a folder for temporary files goes with its own.
    env: { ...process.env, TMPDIR: folder, ...command.env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  const note = (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(-4000)
  }
  child.stdout.on('data', note)
  child.stderr.on('data', note)
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve())
    child.once('exit', () => resolve())
  })
  const endWithUs = () => {
    signalGroup(child, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', endWithUs)
  const stop = async () => {
    process.off('exit', endWithUs)
    signalGroup(child, 'SIGTERM')
    const late = setTimeout(() => signalGroup(child, 'SIGKILL'), 3000)
    await ended
    clearTimeout(late)
    // Workers may outlive their parent.
    endWithUs()
  }
  const deadline = Date.now() + command.patience * 1000
  while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
    if (await command.isReady(port).catch(() => false)) return { port, folder, stop }
    await Promise.race([sleep(50), ended])
  }
  await stop()
  throw new Error(`${command.program} did not start on port ${port}:\n${said}`)
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
