import { shortId } from '../../git/short-id.ts'
import type { Part, StoreFault } from '../../store/verify.ts'
import type { Concern } from '../../workspace/concerns.ts'
import type { FsckReport, LostObject } from '../../workspace/fsck.ts'
import { formatBytes, formatCount, plural } from './amount.ts'
import { shown } from './changes.ts'

/** Paths listed before the rest is only counted. */
const SHOWN = 20

export function placeName(report: FsckReport): string {
  return report.remote ?? 'the cache'
}

function describeFault(fault: StoreFault): string {
  switch (fault.kind) {
    case 'index':
      return `broken  ${fault.key}`
    case 'pack-gone':
      return `gone    pack ${fault.pack}, with ${plural(fault.objects.length, 'object')}`
    case 'pack-corrupt':
      return `corrupt pack ${fault.pack}: ${plural(fault.objects.length, 'object')} in it`
    case 'pack-table':
      return `broken  the table of pack ${fault.pack}; its objects are right`
    case 'object-corrupt':
      return `corrupt object ${fault.oid}`
  }
}

const LOSSES: Record<LostObject['loss'], string> = {
  missing: 'missing',
  corrupt: 'corrupt',
  purged: 'purged',
  size: 'of another size than the tree or pointer says',
  invalid: 'no valid tree page',
}

function renderConcern(concern: Concern, report: FsckReport): string[] {
  const where = [
    ...(concern.branches.length > 0 ? [`in ${concern.branches.slice(0, 5).join(', ')}${more(concern.branches.length, 5)}`] : []),
    ...(concern.commits.length > 0
      ? [`since ${concern.commits.slice(0, 5).map(shortId).join(', ')}${more(concern.commits.length, 5)}`]
      : []),
  ]
  const losses = new Map(report.lost.map(({ oid, loss }) => [oid, loss]))
  const lines = concern.files
    .slice(0, SHOWN)
    .map(({ path, oid }) => `    ${LOSSES[losses.get(oid) ?? 'corrupt']}  ${shown(path)}  ${oid.slice(0, 12)}`)
  if (concern.count > SHOWN) lines.push(`    and ${formatCount(concern.count - SHOWN)} more`)
  return [`  ${shown(concern.path)}${where.length > 0 ? `  (${where.join('; ')})` : ''}`, ...lines]
}

function more(count: number, limit: number): string {
  return count > limit ? ` and ${formatCount(count - limit)} more` : ''
}

function renderRepairs(report: FsckReport): string[] {
  const { repairs } = report
  if (!repairs) return []
  const lines: string[] = []
  if (repairs.indexes > 0) lines.push(`${plural(repairs.indexes, 'index', 'indexes')} made again from the packs`)
  if (repairs.setAside > 0) lines.push(`${plural(repairs.setAside, 'place')} set aside`)
  const sources = new Map<string, number>()
  for (const { from } of repairs.restored) sources.set(from, (sources.get(from) ?? 0) + 1)
  for (const [from, count] of sources)
    lines.push(`${plural(count, 'object')} restored from ${from === 'workspace' || from === 'cache' ? `the ${from}` : from}`)
  for (const { from, message } of repairs.unasked) lines.push(`${from} could not be asked: ${message}`)
  return lines
}

/** What a check found, one line per fault, then what lacks data, then the counts. @param part what of the data was read and hashed */
export function renderFsck(report: FsckReport, part: Part | undefined): string {
  const lines = report.faults.map(describeFault)
  const lost = report.lost.length
  if (lost > 0) lines.push(`${plural(lost, 'needed object')} not whole in ${placeName(report)}`)
  for (const concern of report.concerns) lines.push(...renderConcern(concern, report))
  lines.push(...renderRepairs(report))
  for (const { path, objects } of report.absent.slice(0, SHOWN))
    lines.push(`absent  ${shown(path)}: ${plural(objects, 'object')} ${report.remote === undefined ? 'not here' : 'not pushed'}`)
  if (report.absent.length > SHOWN) lines.push(`and ${plural(report.absent.length - SHOWN, 'more path')}`)
  if (report.purged > 0) lines.push(`purged  ${plural(report.purged, 'needed object')}, on purpose`)
  if (report.unnamed > 0 && !report.repairs)
    lines.push(`${plural(report.unnamed, 'pack')} in no index yet: of a writer that is at work, or was interrupted`)
  lines.push(`${placeName(report)}: ${verdict(report, part)}`)
  return lines.join('\n')
}

/** Whether all is there, as far as was looked. */
function verdict(report: FsckReport, part: Part | undefined): string {
  const { needed, read, faults, lost, absent, purged, repairs } = report
  const hashed =
    read.packs + read.objects > 0 ? `${formatBytes(read.bytes)} in ${plural(read.objects, 'object')} hashed again` : ''
  const packs = plural(report.packs, 'pack')
  const isGood = purged + absent.length === 0 && (repairs ? repairs.left : [...lost, ...faults]).length === 0
  if (!isGood) return [`${plural(needed, 'needed object')} looked for`, packs, hashed].filter(Boolean).join(', ')
  if (needed === 0) return ['nothing is needed there', packs, hashed].filter(Boolean).join(', ')
  const isWhole = part !== undefined && part.of === 1
  const all = needed === 1 ? '1 needed object is there' : `${formatCount(needed)} needed objects are all there`
  return [`${all}${isWhole ? ' and whole' : ''}`, packs, hashed].filter(Boolean).join(', ')
}
