import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Commands that are timed as one, from the start of the first process to the end of the last. */
export interface Timed {
  commands: string[][]
  cwd: string
  env: Record<string, string | undefined>
  /** brings the world into the state the commands start from; not timed */
  before?: () => unknown
}

export interface Sample {
  /** the median */
  seconds: number
  /** of every run, in order */
  runs: number[]
}

/** Runs one process to its end. @returns wall time in seconds; output goes nowhere   @throws with its stderr when it fails */
async function runOnce(
  command: string[],
  place: { cwd: string; env: Timed['env'] },
  watch?: (pid: number) => void,
): Promise<number> {
  const [program = '', ...args] = command
  const started = performance.now()
  const child = spawn(program, args, { ...place, stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (bytes: Buffer) => {
    stderr = (stderr + bytes.toString()).slice(-2000)
  })
  return new Promise((resolve, reject) => {
    if (child.pid !== undefined) watch?.(child.pid)
    child.once('error', reject)
    child.once('exit', () => {
      const seconds = (performance.now() - started) / 1000
      child.once('close', (status, signal) => {
        if (status === 0) resolve(seconds)
        else reject(new Error(`${command.join(' ').slice(0, 200)}: ${signal ?? `status ${status}`}\n${stderr}`))
      })
    })
  })
}

async function time(timed: Timed): Promise<number> {
  await timed.before?.()
  let seconds = 0
  for (const command of timed.commands) seconds += await runOnce(command, timed)
  return seconds
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Times several things in turns, so that what else the machine does meets all of them alike. One round before the first is not counted.
 *  @returns their samples, in order */
export async function timeInTurns(runs: number, ...all: Timed[]): Promise<Sample[]> {
  const seconds: number[][] = all.map(() => [])
  for (let round = 0; round <= runs; round++)
    for (const [i, timed] of all.entries()) {
      const taken = await time(timed)
      if (round > 0) seconds[i]!.push(taken)
    }
  return seconds.map((taken) => ({ seconds: median(taken), runs: taken }))
}

/** Times a thing that is too slow or too singular for a warm-up. */
export async function timeOnce(timed: Timed): Promise<Sample> {
  const seconds = await time(timed)
  return { seconds, runs: [seconds] }
}

/** @returns wall time and the highest resident memory in MiB, of the process itself; undefined where there is no /proc */
export async function measureMemory(timed: Timed): Promise<{ seconds: number; peak: number | undefined }> {
  await timed.before?.()
  let seconds = 0
  let peak: number | undefined
  for (const command of timed.commands) {
    let timer: NodeJS.Timeout | undefined
    // VmHWM is the highest so far: only what it grows by in the last few milliseconds can be missed.
    const look = (pid: number) => {
      const reading = highWaterMark(pid)
      if (reading !== undefined) peak = Math.max(peak ?? 0, reading)
    }
    seconds += await runOnce(command, timed, (pid) => {
      timer = setInterval(() => look(pid), 10)
    }).finally(() => clearInterval(timer))
  }
  return { seconds, peak }
}

function highWaterMark(pid: number): number | undefined {
  try {
    const kibibytes = /^VmHWM:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kibibytes === undefined ? undefined : Number(kibibytes) / 1024
  } catch {
    // It has ended, or this system has no /proc.
    return undefined
  }
}
