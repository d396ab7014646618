import type { TaskEnd, TaskReport } from '../../pipeline/task-result.ts'
import { printable } from '../output.ts'
import { formatSeconds } from './amount.ts'
import { line } from './stages.ts'

/** How a task ended, as one line. */
export function renderEnd(end: TaskEnd): string {
  switch (end.status) {
    case 'ran':
      return line('ran', end.stage, `${formatSeconds(end.seconds)}  (${end.outs.map(({ path }) => path).join(', ')})`)
    case 'restored':
      return line('known', end.stage, `has been run before (${end.outs.map(({ path }) => path).join(', ')})`)
    case 'failed':
      return line('failed', end.stage, end.error.message)
  }
}

function failedWith({ exit, signal, error }: Extract<TaskReport, { status: 'failed' }>): string {
  if (exit !== undefined) return `exit status ${exit}`
  return signal === undefined ? error.code : `ended by ${signal}`
}

/** A report for people, without the error, which is told apart: the last that was printed where it failed, and where the result is.
 *  @param found where it is, of a task that gave something: a remote's name, or undefined for the cache */
export function renderResult(report: TaskReport, found?: { remote: string | undefined }): string {
  const { started, ended, key } = report
  const lines = [
    report.status === 'failed' ? line('failed', report.stage, failedWith(report)) : renderEnd(report),
    `key ${key}`,
    `from ${started} to ${ended}`,
  ]
  if (found) lines.push(`its result is ${found.remote === undefined ? 'in the cache' : `on ${found.remote}`}`)
  else if (report.log !== undefined) lines.push('the last that it printed:', report.log.trimEnd())
  return printable(lines.join('\n'))
}
