import type { Decision } from '../../pipeline/decide.ts'
import type { StageGraph } from '../../pipeline/graph.ts'
import type { PlannedStage, ReproPlan } from '../../pipeline/plan.ts'
import { describeReason, describeReasons, explainReason } from '../../pipeline/reason.ts'
import type { StageEvent } from '../../pipeline/stage-event.ts'
import { formatCount, formatSeconds, plural } from './amount.ts'

/** More unchanged stages than these are counted, not listed. */
const MOST_UNCHANGED = 20

const WORD = 12

/** What happened to what, in columns. */
export function line(word: string, name: string, rest = ''): string {
  return `${word.padEnd(WORD)}${name}${rest === '' ? '' : `  ${rest}`}`
}

/** What happened, as one line; '' for what needs none. */
export function eventLine(event: StageEvent): string {
  switch (event.kind) {
    case 'added':
      return line('added', event.path, '(changed by hand)')
    case 'started':
      return line('running', event.stage, `(${describeReasons(event.reasons)})`)
    case 'ran': {
      const { changed, gone = [] } = event
      const edited = changed.filter((path) => !gone.includes(path))
      const again = edited.length === 0 ? '' : `; ${edited.join(', ')} changed while it ran, so it will run again`
      const lost =
        gone.length === 0 ? '' : `; ${gone.join(', ')}, which it reads, went away while it ran, and its next run needs it`
      const { datums } = event
      const given = datums && datums.given > 0 ? `, ${formatCount(datums.given)} from tasks` : ''
      const parts = datums ? `, ${plural(datums.ran, 'datum')} of ${formatCount(datums.ran + datums.kept)}${given}` : ''
      return line('ran', event.stage, `${formatSeconds(event.seconds)}${parts}${again}${lost}`)
    }
    case 'unchanged':
    case 'frozen':
      return line(event.kind, event.stage)
    case 'absent':
      return line('absent', event.stage, `(${event.outs.join(', ')}; run "mlv pull")`)
    case 'restored':
      return line(
        'restored',
        event.stage,
        event.from === 'lock' ? `(${event.outs.join(', ')})` : `from the run cache (${describeReasons(event.reasons)})`,
      )
    case 'failed':
      return line('failed', event.stage, event.error.message)
    case 'skipped':
      return line('skipped', event.stage, `(${event.because} failed)`)
    case 'written':
      return ''
  }
}

/** Lists unchanged stages while they are few; then `flush` gives their number. */
export function createUnchangedLines(total: number, verbose: boolean) {
  const listed = verbose || total <= MOST_UNCHANGED
  let count = 0
  return {
    take(event: StageEvent): string {
      if (listed || (event.kind !== 'unchanged' && event.kind !== 'frozen')) return eventLine(event)
      count++
      return ''
    },
    flush: () => (count === 0 ? '' : line('unchanged', plural(count, 'stage'))),
  }
}

/** An event as JSON: reasons in words. */
export function eventJson(event: Exclude<StageEvent, { kind: 'written' | 'added' | 'started' }>): Record<string, unknown> {
  const { kind, stage, ...rest } = event
  if ('reasons' in rest) return { stage, outcome: kind, ...rest, reasons: rest.reasons.map(describeReason) }
  if ('error' in rest) return { stage, outcome: kind, error: { code: rest.error.code, message: rest.error.message } }
  return { stage, outcome: kind, ...rest }
}

function decisionJson(decision: Decision): Record<string, unknown> {
  switch (decision.kind) {
    case 'unchanged':
    case 'frozen':
      return {}
    case 'restore':
    case 'absent':
      return { outs: decision.outs.map((out) => out.path) }
    case 'run':
      return { reasons: decision.reasons.map(describeReason) }
    case 'blocked':
      return {
        reasons: decision.reasons.map(describeReason),
        error: { code: decision.error.code, message: decision.error.message, hint: decision.error.hint },
      }
  }
}

export function planJson(plan: ReproPlan): unknown {
  return {
    add: plan.edited,
    stages: plan.stages.map(({ stage, decision }) => ({ stage: stage.name, decision: decision.kind, ...decisionJson(decision) })),
  }
}

function plannedLine({ stage, decision }: PlannedStage): string {
  switch (decision.kind) {
    case 'unchanged':
    case 'frozen':
      return line(decision.kind, stage.name)
    case 'restore':
      return line('restore', stage.name, `(${decision.outs.map((out) => out.path).join(', ')})`)
    case 'absent':
      return line('absent', stage.name, `(${decision.outs.map((out) => out.path).join(', ')}; run "mlv pull")`)
    case 'run':
      return line('would run', stage.name, `(${describeReasons(decision.reasons)})`)
    case 'blocked':
      return line('cannot run', stage.name, `(${decision.error.message})`)
  }
}

/** Each reason on a line of its own, in full. */
function explainedLine(planned: PlannedStage): string {
  const { stage, decision } = planned
  if (decision.kind !== 'run' && decision.kind !== 'blocked') return plannedLine(planned)
  const head =
    decision.kind === 'run' ? line('would run', stage.name) : line('cannot run', stage.name, `(${decision.error.message})`)
  return [head, ...decision.reasons.map((reason) => `${' '.repeat(WORD)}  ${explainReason(reason)}`)].join('\n')
}

/** A plan as text, a line for each stage. @param explain each reason on a line of its own, in full */
export function renderPlan(plan: ReproPlan, verbose: boolean, explain = false): string {
  const idle = plan.stages.filter(({ decision }) => decision.kind === 'unchanged' || decision.kind === 'frozen')
  const short = !verbose && idle.length > MOST_UNCHANGED
  const shown = short ? plan.stages.filter((planned) => !idle.includes(planned)) : plan.stages
  const lines = [
    ...plan.edited.map((path) => line('would add', path, '(changed by hand)')),
    ...shown.map(explain ? explainedLine : plannedLine),
  ]
  if (short) lines.push(line('unchanged', plural(idle.length, 'stage')))
  return lines.length === 0 ? 'There are no stages yet: add one with "mlv stage add".' : lines.join('\n')
}

/** The stages as a list: name, and what it says about itself or its command. */
export function renderStageList(graph: StageGraph): string {
  const width = Math.max(0, ...graph.order.map((name) => name.length))
  return graph.order
    .map((name) => {
      const stage = graph.stages.get(name)!
      const [first, ...more] = stage.cmd.flatMap((command) => command.split('\n'))
      return `${name.padEnd(width)}  ${stage.desc ?? `${first}${more.length > 0 ? ' …' : ''}`}`
    })
    .join('\n')
}

export function stageListJson(graph: StageGraph): unknown {
  return graph.order.map((name) => {
    const { cmd, wdir, deps, params, env, outs, desc, frozen, always } = graph.stages.get(name)!
    return {
      stage: name,
      ...(desc === undefined ? {} : { desc }),
      cmd,
      wdir: wdir || '.',
      deps: deps.map((dep) => dep.path),
      params: params.map(({ file, key }) => ({ file, key })),
      env,
      outs: outs.map(({ path, role, git, persist }) => ({ path, role, git, persist })),
      ...(frozen ? { frozen } : {}),
      ...(always ? { always } : {}),
      after: graph.upstream.get(name)!,
    }
  })
}
