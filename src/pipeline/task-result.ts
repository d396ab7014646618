import type { ErrorCode, MlvError } from '../base/errors.ts'
import type { Oid } from '../base/oid.ts'
import { compareUtf8 } from '../base/paths.ts'
import { canonicalJson } from './canonical-json.ts'
import type { CommandEnd } from './executor/shell.ts'
import type { RunRecord } from './run-record.ts'

/** How a task ended, for whoever waits for it elsewhere. */
export type TaskReport = { key: Oid; stage: string } & (
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

const FORMAT = 1

/** Why a task failed. */
export function failedReport(task: { key: Oid; name: string }, error: MlvError): TaskReport {
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
