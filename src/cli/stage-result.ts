import { MlvError } from '../base/errors.ts'
import type { Context } from './context.ts'
import { readTypedFile } from './typed-file.ts'

export interface ResultOptions {
  remote?: string
  fetch?: boolean
}

/** Tells how a task ended, as its report has it, and whether what it gave can be had. Ends as the task did. */
export async function showResult(context: Context, typed: string, options: ResultOptions): Promise<void> {
  const { output, surroundings } = context
  const [{ parseReport, reportJson, REPORT_BYTES }, { renderResult }] = await Promise.all([
    import('../pipeline/task-result.ts'),
    import('./render/task-result.ts'),
  ])
  const wanted = 'the file that "mlv exec -o" wrote'
  const bytes = await readTypedFile(typed, surroundings.cwd, { most: REPORT_BYTES, wanted })
  const report = parseReport(bytes, typed === '-' ? 'stdin' : typed)
  if (report.status === 'failed') {
    output.answer(reportJson(report), () => (output.quiet ? '' : renderResult(report)))
    const { code, message, hint } = report.error
    throw new MlvError(code, message, { hint: hint && `Where it ran: ${hint}` })
  }
  const [project, { fetchResult, findResult }] = await Promise.all([context.project(), import('../pipeline/find-result.ts')])
  const found = await findResult(project, report, options.remote)
  if (options.fetch) await fetchResult(project, report, found)
  const remote = options.fetch ? undefined : found.remote
  output.answer({ ...reportJson(report), found: remote === undefined ? { cache: true } : { remote } }, () =>
    output.quiet ? '' : renderResult(report, { remote }),
  )
}
