import { shortId } from '../../git/short-id.ts'
import type { PurgeReport } from '../../workspace/purge.ts'
import { formatBytes, plural } from './amount.ts'
import { shown } from './changes.ts'

/** Names listed before the rest is only counted. */
const SHOWN = 10

function list(items: readonly string[]): string[] {
  const lines = items.slice(0, SHOWN).map((item) => `  ${item}`)
  if (items.length > SHOWN) lines.push(`  … and ${items.length - SHOWN} more (--json lists all)`)
  return lines
}

export function questionOf(report: PurgeReport): string {
  const places = report.stores.map(({ name }) => (name === 'cache' ? 'the cache' : name)).join(' and ')
  return `Delete ${plural(report.objects.length, 'object')} (${formatBytes(report.bytes)}) from ${places} for good?`
}

/** What a purge deletes or has deleted, and what it cannot reach. */
export function renderPurge(report: PurgeReport, { done, quiet }: { done: boolean; quiet: boolean }): string {
  if (done && quiet) return ''
  const lines = [
    report.objects.length === 0 && report.shared.length > 0
      ? `${done ? 'purged' : 'would purge'}  nothing: ${report.shared.length === 1 ? 'it lies' : `all ${plural(report.shared.length, 'file')} lie`} at other paths as well`
      : `${done ? 'purged' : 'would purge'}  ${plural(report.objects.length, 'object')}, ${formatBytes(report.bytes)}${report.paths.length > 0 ? `, of ${report.paths.map(shown).join(', ')}` : ''}`,
  ]
  for (const { name, url, removed, bytes, keptChunks } of report.stores) {
    const kept = keptChunks > 0 ? `; ${plural(keptChunks, 'chunk')} stay, which other objects are made of` : ''
    lines.push(
      `  ${name} (${shown(url)}): ${removed === 0 ? 'has nothing of it' : `${plural(removed, 'copy', 'copies')}, ${formatBytes(bytes)}`}${kept}`,
    )
  }
  if (report.commits.length > 0) {
    lines.push(`held by ${plural(report.commits.length, 'commit')}, whose pointers stay and name what is gone:`)
    lines.push(...list(report.commits.map(shortId)))
    if (report.refs.length > 0) lines.push('and so by', ...list(report.refs))
  }
  if (report.shared.length > 0)
    lines.push(
      'stays, because it lies elsewhere as well, for instance here; give its oid to purge it wherever it lies:',
      ...list(report.shared.map(({ oid, path }) => `${oid}  ${shown(path)}`)),
    )
  if (report.workspace.length > 0) lines.push('still in the workspace, delete by hand:', ...list(report.workspace.map(shown)))
  if (report.foreign.length > 0)
    lines.push('still in buckets of their own, where mlv deletes nothing:', ...list(report.foreign.map(shown)))
  if (report.unreadable.length > 0)
    lines.push('not looked into, since no store asked has the list of files:', ...list(report.unreadable.map(shown)))
  if (report.otherRemotes.length > 0)
    lines.push(`not asked: the remotes ${report.otherRemotes.join(', ')}; name each with --remote`)
  lines.push(
    'out of reach: the caches and workspaces of other clones, other remotes, backups, and old versions that a bucket keeps',
  )
  return lines.join('\n')
}
