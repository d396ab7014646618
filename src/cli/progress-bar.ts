import type { Progress, ProgressTask } from '../base/progress.ts'
import { formatBytes, formatSeconds } from './render/amount.ts'
import { displayWidth } from './render/table.ts'

/** Often enough to look alive, seldom enough to cost nothing. */
const REDRAW_MS = 100
/** Quick work shows no bar at all. */
const SHOW_AFTER_MS = 300
/** The rate is that of about the last three seconds. */
const RATE_MS = 3000

interface Shown {
  name: string
  done: number
  total: number
  started: number
  /** recent (time, done) pairs, oldest first */
  samples: [number, number][]
}

function rateOf(task: Shown, now: number): number {
  const [time, done] = task.samples[0]!
  return now > time ? ((task.done - done) * 1000) / (now - time) : 0
}

/** One line of a task: `push  1.2 GiB of 3.4 GiB (35 %)  48 MiB/s  46s left`. */
export function progressLine(task: Shown, now: number, columns: number): string {
  const rate = rateOf(task, now)
  const parts = [task.name]
  if (task.total > 0) {
    const percent = Math.min(100, Math.floor((task.done / task.total) * 100))
    parts.push(`${formatBytes(task.done)} of ${formatBytes(task.total)} (${percent} %)`)
  } else if (task.done > 0) parts.push(formatBytes(task.done))
  if (rate > 0) parts.push(`${formatBytes(rate)}/s`)
  if (rate > 0 && task.total > task.done) parts.push(`${formatSeconds((task.total - task.done) / rate)} left`)
  let line = parts.join('  ')
  while (displayWidth(line) >= columns) line = line.slice(0, -1)
  return line
}

/** Draws the newest running task in one line of a terminal, and takes the line away at the end. On anything else than a terminal it is silent. */
export function createProgress(stderr: NodeJS.WriteStream): Progress & { clear(): void } {
  const tasks: Shown[] = []
  let drawn = false
  let last = 0

  const clear = () => {
    if (drawn) stderr.write('\r\u001b[K')
    drawn = false
  }
  const draw = () => {
    const now = Date.now()
    if (now - last < REDRAW_MS) return
    const task = tasks.at(-1)
    if (!task || now - task.started < SHOW_AFTER_MS) return
    last = now
    task.samples.push([now, task.done])
    while (task.samples.length > 2 && now - task.samples[0]![0] > RATE_MS) task.samples.shift()
    stderr.write(`\r\u001b[K${progressLine(task, now, stderr.columns || 80)}`)
    drawn = true
  }
  return {
    clear,
    start(name, total = 0): ProgressTask {
      if (!stderr.isTTY) return { advance() {}, grow() {}, finish() {} }
      const now = Date.now()
      const task: Shown = { name, done: 0, total, started: now, samples: [[now, 0]] }
      tasks.push(task)
      return {
        advance(bytes) {
          task.done += bytes
          draw()
        },
        grow(bytes) {
          task.total += bytes
          draw()
        },
        finish() {
          const at = tasks.indexOf(task)
          if (at < 0) return
          tasks.splice(at, 1)
          clear()
        },
      }
    },
  }
}
