import { type ErrorCode, isErrorCode, MlvError } from '../base/errors.ts'
import { isOid, type Oid } from '../base/oid.ts'
import { compareUtf8 } from '../base/paths.ts'
import { canonicalJson } from './canonical-json.ts'
import type { CommandEnd } from './executor/shell.ts'
import { asEntry, asList, asMap, asPath, Fault, type Raw, sorted } from './lock-fields.ts'
import type { RunNotes } from './run-notes.ts'
import type { RunRecord } from './run-record.ts'

/** How a task ended. */
export type TaskEnd = { key: Oid; stage: string } & (
  | {
      /** restored: it had been run before */
      status: 'ran' | 'restored'
      /** all of them stored, as the run record says */
      outs: RunRecord['outs']
      /** that its commands took; 0 when restored */
      seconds: number
    }
  | {
      status: 'failed'
      error: { code: ErrorCode; message: string; hint?: string }
      /** of the command that failed, if one did */
      exit?: number
      signal?: string
    }
)

/** The same for whoever waits for it elsewhere. */
export type TaskReport = TaskEnd & RunNotes

const FORMAT = 1
/** Bytes beyond which a text is no report. */
export const REPORT_BYTES = 16 << 20

const REPORT_KEYS = {
  all: ['mlv_result', 'key', 'stage', 'status', 'started', 'ended', 'log'],
  done: ['outs', 'seconds'],
  failed: ['error', 'exit', 'signal'],
}
/** More than what mlv.yaml may call a stage, and one line. */
const NAME = /^[^\p{Cc}]{1,200}$/u
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** Why a task failed. */
export function failedEnd(task: { key: Oid; name: string }, error: MlvError): TaskEnd {
  const { code, message, hint } = error
  const end = error.cause as CommandEnd | undefined
  return {
    ...{
      key: task.key,
      stage: task.name,
      status: 'failed',
      error: hint === undefined ? { code, message } : { code, message, hint },
    },
    ...(end?.kind === 'failed' ? { exit: end.status } : {}),
    ...(end?.kind === 'killed' ? { signal: end.signal } : {}),
  }
}

/** The report as docs/formats.md has it. */
export function reportJson(report: TaskReport): Record<string, unknown> {
  const outs =
    'outs' in report
      ? [...report.outs].sort((a, b) => compareUtf8(a.path, b.path)).map(({ path, entry }) => ({ path, ...entry }))
      : undefined
  return { mlv_result: FORMAT, ...report, ...(outs && { outs }) }
}

/** Canonical JSON and a line feed. */
export function formatReport(report: TaskReport): string {
  return `${canonicalJson(reportJson(report))}\n`
}

function readText(raw: Raw, key: string): string {
  const value = raw[key]
  if (typeof value === 'string' && value !== '') return value
  throw new Fault([key], 'is no text')
}

function readMoment(raw: Raw, key: string): string {
  const text = readText(raw, key)
  if (MOMENT.test(text) && !Number.isNaN(Date.parse(text))) return text
  throw new Fault([key], 'is no time like 2026-01-31T12:00:00.000Z')
}

function readError(value: unknown): Extract<TaskEnd, { status: 'failed' }>['error'] {
  const raw = asMap(value, ['error'])
  const { code, message, hint } = raw
  if (typeof code !== 'string' || !isErrorCode(code)) throw new Fault(['error', 'code'], 'is unknown')
  if (typeof message !== 'string') throw new Fault(['error', 'message'], 'is no text')
  if (hint !== undefined && typeof hint !== 'string') throw new Fault(['error', 'hint'], 'is no text')
  return hint === undefined ? { code, message } : { code, message, hint }
}

function readEnd(raw: Raw, base: { key: Oid; stage: string }): TaskEnd {
  const { status, seconds } = raw
  if (status === 'failed') {
    if (raw.exit !== undefined && !Number.isSafeInteger(raw.exit)) throw new Fault(['exit'], 'is no exit status')
    const exit = raw.exit === undefined ? {} : { exit: raw.exit as number }
    const signal = raw.signal === undefined ? {} : { signal: readText(raw, 'signal') }
    return { ...base, status, error: readError(raw.error), ...exit, ...signal }
  }
  if (status !== 'ran' && status !== 'restored') throw new Fault(['status'], 'is not ran, restored or failed')
  if (typeof seconds !== 'number' || !(seconds >= 0)) throw new Fault(['seconds'], 'is no number of seconds')
  const outs = asList(raw, 'outs', [], (item, keys) => ({ path: asPath(item.path, keys), entry: asEntry(item, keys) }))
  return { ...base, status, outs: sorted(outs, ({ path }) => path, ['outs']), seconds }
}

function readReport(value: unknown): TaskReport {
  const raw = asMap(value, [])
  if (raw.mlv_result !== FORMAT) throw new Fault(['mlv_result'], `is not ${FORMAT}`)
  const known = [...REPORT_KEYS.all, ...(raw.status === 'failed' ? REPORT_KEYS.failed : REPORT_KEYS.done)]
  const unknown = Object.keys(raw).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new Fault([unknown], 'is unknown')
  const { key, stage } = raw
  if (typeof stage !== 'string' || !NAME.test(stage)) throw new Fault(['stage'], 'is no name of a stage')
  if (typeof key !== 'string' || !isOid(key)) throw new Fault(['key'], 'is no run key of 64 lower-case hex characters')
  return {
    ...readEnd(raw, { key, stage }),
    ...{ started: readMoment(raw, 'started'), ended: readMoment(raw, 'ended') },
    ...(raw.log === undefined ? {} : { log: readText(raw, 'log') }),
  }
}

/** Reads a report that anybody may have written, also one that was laid out anew.
 *  @param name what messages call it   @throws TASK_INVALID */
export function parseReport(bytes: Uint8Array, name: string): TaskReport {
  const invalid = (problem: string, cause?: unknown) =>
    new MlvError('TASK_INVALID', `${name} is no report of a task: ${problem}`, {
      hint: '"mlv exec TASK -o FILE" writes one when it ends.',
      cause,
    })
  if (bytes.length > REPORT_BYTES) throw invalid(`it has more than ${REPORT_BYTES >> 20} MiB`)
  try {
    return readReport(JSON.parse(Buffer.from(bytes).toString('utf8')))
  } catch (error) {
    if (error instanceof Fault) throw invalid(`${error.keys.join(' ') || 'it'} ${error.message}`)
    if (error instanceof SyntaxError) throw invalid('it is no JSON', error)
    if (error instanceof RangeError) throw invalid(error.message, error)
    throw error
  }
}
