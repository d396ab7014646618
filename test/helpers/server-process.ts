import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** @returns the first program of that name in `folders` or on PATH. */
export function findProgram(name: string, folders: string[] = []): string | undefined {
  const places = [...folders, ...(process.env.PATH ?? '').split(delimiter)]
  return places
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
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
  args: (port: number) => string[]
  env?: Record<string, string>
  cwd: string
  /** throws, or answers false, until the server is ready */
  isReady: (port: number) => Promise<boolean>
  /** seconds until it must be ready */
  patience: number
}

export interface RunningServer {
  port: number
  stop(): Promise<void>
}

/** Starts a server on a free port of loopback and waits until it is ready. Another process may take the port in between: a server that ends at once is tried again on another.
 *  It is stopped with all its children by `stop`, and at the latest when this process ends. */
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
  // A process group of its own, so that the workers a server forks end with it.
  const child = spawn(command.program, command.args(port), {
    cwd: command.cwd,
    env: { ...process.env, ...command.env },
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
  const endWithUs = () => signalGroup(child, 'SIGKILL')
  process.once('exit', endWithUs)
  const stop = async () => {
    process.off('exit', endWithUs)
    signalGroup(child, 'SIGTERM')
    const late = setTimeout(() => signalGroup(child, 'SIGKILL'), 3000)
    await ended
    clearTimeout(late)
    // Workers that outlived their parent.
    signalGroup(child, 'SIGKILL')
  }
  const deadline = Date.now() + command.patience * 1000
  while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
    if (await command.isReady(port).catch(() => false)) return { port, stop }
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
