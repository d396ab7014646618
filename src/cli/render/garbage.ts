import { shortId } from '../../git/short-id.ts'
import type { Doomed } from '../../store/collect.ts'
import type { GarbagePlan, GarbageResult } from '../../workspace/garbage.ts'
import { formatBytes, plural } from './amount.ts'
import { shown } from './changes.ts'

/** Commits named before the rest is only counted. */
const LOST_LINES = 20

/** What would be done, or was, with the run records that nobody can use any more. */
export type PlanWithRuns = GarbagePlan & { runs: number }
export type ResultWithRuns = GarbageResult & { runs: number }

/** Whether a plan deletes and condemns nothing. */
export function isEmpty({ runs, collect: { condemn, remove, rewrite } }: PlanWithRuns): boolean {
  if (runs > 0) return false
  return [condemn, remove].every(({ packs, objects }) => packs.length + objects.length === 0) && rewrite.packs.length === 0
}

/** Whether condemned records go because something needs what they condemn. */
function isSpared({ collect: { spare } }: GarbagePlan): boolean {
  return spare.packs.length + spare.objects.length > 0
}

const day = (time: number) => new Date(time).toISOString().slice(0, 16).replace('T', ' ')

function lostLines({ lost }: GarbagePlan): string[] {
  if (lost.length === 0) return []
  const lines = lost
    .slice(0, LOST_LINES)
    .map(({ commit, path, entry }) => `  ${shortId(commit.id)} ${commit.subject}  ${shown(path)} (${formatBytes(entry.size)})`)
  if (lost.length > LOST_LINES) lines.push(`  and ${plural(lost.length - LOST_LINES, 'more version')}`)
  return ['these commits lose data:', ...lines]
}

/** What would be done, with counts and bytes. */
export function renderPlan(plan: PlanWithRuns): string {
  const { collect, live, name } = plan
  const { condemn, remove, rewrite, waiting, now } = collect
  const lines = [`${name}: ${plural(live.objects, 'object')} (${formatBytes(live.bytes)}) in use`]
  // Nothing goes, and still something is done.
  if (isSpared(plan)) lines.push('keep      what was condemned and is needed again')
  const young = collect.young > 0 ? [`young     ${formatBytes(collect.young)} that nothing needs, kept for the grace period`] : []
  if (isEmpty(plan) && waiting.from === undefined) return [...lines, ...young, 'nothing to collect'].join('\n')
  lines.push(...lostLines(plan))
  if (remove.bytes > 0) lines.push(`delete    ${formatBytes(remove.bytes)}, condemned a grace period ago`)
  // Whole packs go, so that what is told before is what is told afterwards.
  const going = condemn.bytes + rewrite.bytes + rewrite.kept
  if (going > 0)
    lines.push(
      plan.grace > 0
        ? `condemn   ${formatBytes(going)}, to be deleted by "mlv gc" from ${day(now + plan.grace)} UTC on`
        : `delete    ${formatBytes(going)}`,
    )
  if (rewrite.packs.length > 0) {
    const are = rewrite.packs.length === 1 ? 'is' : 'are'
    lines.push(
      `rewrite   ${formatBytes(rewrite.kept)} of that: ${plural(rewrite.packs.length, 'pack')} ${are} mostly needless, and what is needed of ${rewrite.packs.length === 1 ? 'it' : 'them'} stays`,
    )
  }
  if (plan.runs > 0) lines.push(`forget    ${plural(plan.runs, 'run record')} whose results are gone`)
  if (waiting.from !== undefined) lines.push(`waiting   ${formatBytes(waiting.bytes)}, the first due at ${day(waiting.from)} UTC`)
  return [...lines, ...young].join('\n')
}

export function renderResult(plan: GarbagePlan, done: ResultWithRuns): string {
  const parts = [
    done.deleted > 0 && `deleted ${formatBytes(done.deleted)}`,
    done.condemned > 0 && `condemned ${formatBytes(done.condemned)} ("mlv gc --undo" takes it back)`,
    plan.collect.rewrite.kept > 0 && `wrote ${formatBytes(plan.collect.rewrite.kept)} of that again`,
    done.runs > 0 && `forgot ${plural(done.runs, 'run record')}`,
    done.swept > 0 && `swept ${formatBytes(done.swept)} of leftovers`,
    isSpared(plan) && 'kept what is needed again',
  ].filter((part) => part !== false)
  const corrupt = done.corrupt.map((oid) => `corrupt   ${oid}: push or add it again from where it is whole`)
  return [...corrupt, ...(parts.length > 0 ? [parts.join(', ')] : [])].join('\n')
}

const amountOf = ({ packs, objects, bytes }: Doomed) => ({ packs: packs.length, objects: objects.length, bytes })

/** The plan as --json prints it. */
export function answerOfGarbage({ name, grace, live, collect, lost, leftovers, runs }: PlanWithRuns): Record<string, unknown> {
  const { condemn, remove, rewrite, waiting, spare, dead, now } = collect
  return {
    store: name,
    live,
    dead,
    delete: amountOf(remove),
    condemn: amountOf(condemn),
    rewrite: { packs: rewrite.packs.length, bytes: rewrite.bytes, kept: rewrite.kept },
    young: { bytes: collect.young },
    waiting: { ...amountOf(waiting), from: waiting.from === undefined ? null : new Date(waiting.from).toISOString() },
    spare: { packs: spare.packs.length, objects: spare.objects.length },
    due: new Date(now + grace).toISOString(),
    lost: lost.map(({ commit, path, entry }) => ({
      commit: commit.id,
      subject: commit.subject,
      path,
      oid: entry.oid,
      size: entry.size,
    })),
    leftovers: leftovers.length,
    runs,
  }
}
