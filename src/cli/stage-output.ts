import { type Output, printable } from './output.ts'
import { formatSeconds } from './render/amount.ts'
import { displayWidth } from './render/table.ts'

/** What the commands of stages print, on its way to the user. */
export interface StageOutput {
  onOutput(stage: string, bytes: Buffer, from: 'stdout' | 'stderr'): void | Promise<void>
  started(stage: string): void
  /** @param failed its last lines are shown, where they were not already */
  ended(stage: string, failed: boolean): void
  /** Takes away what is drawn, so that a line can be written. */
  clear(): void
  close(): void
}

interface Streams {
  stdout: NodeJS.WriteStream
  stderr: NodeJS.WriteStream
  /** keeps stdout for an answer */
  toStderr: boolean
}

const REDRAW_MS = 100
const LAST_LINES = 10
const LINE_FEED = 10
const LONGEST_LINE = 2000

/** One wait for all that write to a stream while it is full. */
const waits = new WeakMap<NodeJS.WriteStream, Promise<void>>()

function write(stream: NodeJS.WriteStream, bytes: Buffer | string): void | Promise<void> {
  // Nobody reads any more: the command goes on, its log has it all.
  if (stream.destroyed || stream.write(bytes)) return
  const known = waits.get(stream)
  if (known) return known
  const wait = new Promise<void>((done) => {
    const events = ['drain', 'close', 'error'] as const
    const finish = () => {
      for (const event of events) stream.off(event, finish)
      waits.delete(stream)
      done()
    }
    for (const event of events) stream.once(event, finish)
  })
  waits.set(stream, wait)
  return wait
}

/** One stage at a time: what it prints goes straight through. Several: to a terminal, a line for each that runs, with the last that it said;
 *  elsewhere every line with the stage's name before it.
 *  @param jobs stages at once */
export function createStageOutput(output: Output, jobs: number): StageOutput {
  const { stdout, stderr } = process
  const toStderr = output.json || output.quiet
  const open = jobs === 1 ? passThrough : stderr.isTTY && !toStderr ? liveLines : namedLines
  const shown = open({ stdout, stderr, toStderr })
  const detach = output.attach(shown.clear)
  return {
    ...shown,
    close() {
      shown.close()
      detach()
    },
  }
}

function passThrough({ stdout, stderr, toStderr }: Streams): StageOutput {
  /** where a line has been begun that what follows must not go on with */
  const begun = new Set<NodeJS.WriteStream>()
  const endLine = () => {
    for (const stream of begun) void write(stream, '\n')
    begun.clear()
  }
  return {
    onOutput(_stage, bytes, from) {
      const stream = from === 'stdout' && !toStderr ? stdout : stderr
      if (bytes.at(-1) === LINE_FEED) begun.delete(stream)
      else begun.add(stream)
      return write(stream, bytes)
    },
    started() {},
    ended: endLine,
    clear: endLine,
    close: endLine,
  }
}

/** Cuts what stages print into lines; what a carriage return overwrites is left out. */
function createLines(each: (stage: string, line: string) => void | Promise<void>) {
  const rests = new Map<string, string>()
  return {
    take(stage: string, bytes: Buffer): void | Promise<void> {
      const lines = ((rests.get(stage) ?? '') + bytes.toString('utf8')).split('\n')
      rests.set(stage, lines.pop()!.slice(-LONGEST_LINE))
      // The last line's answer will do: a stream that is full says so to each.
      const held = lines.map((line) => each(stage, shown(line)))
      return held.at(-1) as Promise<void> | undefined
    },
    /** what stands there without an end of line */
    rest: (stage: string) => shown(rests.get(stage) ?? ''),
    end(stage: string): void {
      const rest = rests.get(stage)
      rests.delete(stage)
      if (rest) void each(stage, shown(rest))
    },
  }
}

function shown(line: string): string {
  const text = line.replace(/\r+$/, '')
  return printable(text.slice(text.lastIndexOf('\r') + 1))
}

function namedLines({ stdout, stderr, toStderr }: Streams): StageOutput {
  const lines = createLines((stage, line) => write(toStderr ? stderr : stdout, `${stage} | ${line}\n`))
  return {
    onOutput: (stage, bytes) => lines.take(stage, bytes),
    started() {},
    ended: (stage) => lines.end(stage),
    clear() {},
    close() {},
  }
}

function liveLines({ stderr }: Streams): StageOutput {
  const running = new Map<string, { since: number; last: string[] }>()
  let drawn = 0
  const lines = createLines((stage, line) => {
    const last = running.get(stage)?.last ?? []
    if (line.trim() === '') return
    last.push(line)
    if (last.length > LAST_LINES) last.shift()
  })
  const clear = () => {
    if (drawn > 0) stderr.write(`\u001b[${drawn}A\u001b[J`)
    drawn = 0
  }
  const draw = () => {
    clear()
    const most = Math.max(1, (stderr.rows || 24) - 2)
    const texts = [...running].slice(0, most).map(([stage, { since, last }]) => {
      const said = lines.rest(stage) || (last.at(-1) ?? '')
      let text = `  ${stage}  ${formatSeconds((Date.now() - since) / 1000)}  ${said}`
      while (displayWidth(text) >= (stderr.columns || 80)) text = text.slice(0, -1)
      return text
    })
    if (texts.length > 0) stderr.write(`${texts.join('\n')}\n`)
    drawn = texts.length
  }
  function ended(stage: string, failed: boolean): void {
    lines.end(stage)
    const last = running.get(stage)?.last ?? []
    running.delete(stage)
    clear()
    if (failed && last.length > 0) stderr.write(`${last.map((line) => `${stage} | ${line}`).join('\n')}\n`)
  }
  const timer = setInterval(draw, REDRAW_MS)
  timer.unref()
  return {
    onOutput: (stage, bytes) => lines.take(stage, bytes),
    started(stage) {
      running.set(stage, { since: Date.now(), last: [] })
    },
    ended,
    clear,
    close() {
      clearInterval(timer)
      // What has not ended well is still there.
      for (const stage of [...running.keys()]) ended(stage, true)
      clear()
    },
  }
}
