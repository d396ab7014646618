import type { RepoPath } from '../../base/paths.ts'
import type { AddResult } from '../../workspace/add.ts'
import type { CheckoutResult } from '../../workspace/checkout.ts'
import type { EntryDiff, FileChange } from '../../workspace/diff.ts'
import type { Entry } from '../../workspace/entry.ts'
import type { PathStatus } from '../../workspace/status.ts'
import type { SyncResult } from '../../workspace/sync.ts'
import { printable } from '../output.ts'
import { formatBytes, formatCount, plural } from './amount.ts'

/** Files listed per path before the rest is only counted. */
const SHOWN = 20

const MARKS: Record<FileChange['kind'], string> = { added: '+', deleted: '-', modified: '~', renamed: '→', absent: '?' }

/** A name on one line, unable to drive the terminal. */
export function shown(path: string): string {
  return printable(path).replaceAll('\n', '\\n')
}

export function describeSize(entry: Entry | undefined): string {
  if (!entry) return 'nothing'
  return entry.kind === 'tree' ? `${plural(entry.files, 'file')}, ${formatBytes(entry.size)}` : formatBytes(entry.size)
}

export function renderAdded(result: AddResult): string {
  const lines: string[] = []
  for (const { path, entry, before, changed } of result.added)
    if (changed)
      lines.push(
        `${before ? 'updated' : 'added'}  ${shown(path)}  (${describeSize(entry)}${before ? `, was ${describeSize(before)}` : ''})`,
      )
  if (result.untracked.length > 0)
    lines.push(`git no longer tracks ${plural(result.untracked.length, 'file')} that mlv tracks now; the files stay`)
  if (lines.length === 0)
    lines.push(
      result.stored > 0 ? `${plural(result.stored, 'object')} stored again; the pointers are as they were` : 'nothing changed',
    )
  return lines.join('\n')
}

function countChanges(changes: readonly FileChange[]): string {
  const count = (kind: FileChange['kind']) => changes.filter((change) => change.kind === kind).length
  const parts = [`+${formatCount(count('added'))}`, `−${formatCount(count('deleted'))}`, `~${formatCount(count('modified'))}`]
  if (count('renamed') > 0) parts.push(`→${formatCount(count('renamed'))}`)
  if (count('absent') > 0) parts.push(`?${formatCount(count('absent'))}`)
  return parts.join(' ')
}

function renderChange(change: FileChange): string {
  const sizes =
    change.before !== undefined && change.after !== undefined
      ? change.before === change.after
        ? formatBytes(change.after)
        : `${formatBytes(change.before)} → ${formatBytes(change.after)}`
      : formatBytes(change.after ?? change.before ?? 0)
  const name = change.from ? `${shown(change.from)} → ${shown(change.path)}` : shown(change.path)
  return `  ${MARKS[change.kind]} ${change.kind.padEnd(8)}  ${name}  (${sizes})`
}

function renderFiles(path: RepoPath, changes: readonly FileChange[]): string[] {
  if (changes.length === 1 && changes[0]!.path === path) return []
  // What a user did comes before what was never placed, which may be most of a large tree.
  const isAbsent = (change: FileChange) => change.kind === 'absent'
  const ordered = [...changes.filter((change) => !isAbsent(change)), ...changes.filter(isAbsent)]
  const lines = ordered.slice(0, SHOWN).map(renderChange)
  if (changes.length > SHOWN) lines.push(`  … and ${formatCount(changes.length - SHOWN)} more (--json lists all)`)
  return lines
}

const HINTS: Partial<Record<PathStatus['state'], string>> = {
  modified: 'record with "mlv add -u"',
  outdated: 'get the new version with "mlv checkout"',
  diverged: 'keep yours with "mlv add --force", or take the pointer\'s with "mlv checkout --force"',
  absent: 'get it with "mlv pull"',
  deleted: 'bring it back with "mlv checkout", or stop tracking it with "mlv remove"',
}

function hintFor(state: PathStatus['state'], uncached: boolean): string | undefined {
  if (state === 'unchanged') return 'store it again with "mlv add --force PATH", or get it with "mlv fetch"'
  if (state === 'outdated' && uncached) return 'get the new version with "mlv pull"'
  if (state === 'absent' && !uncached) return 'place it with "mlv checkout", or get it with "mlv pull"'
  return HINTS[state]
}

export function renderStatus(statuses: readonly PathStatus[]): string {
  const lines: string[] = []
  const hints = new Set<string>()
  for (const { path, origin, state, changes, uncached } of statuses) {
    if (state === 'unchanged' && !uncached) continue
    const counts =
      changes === undefined
        ? 'its list of files is in no cache'
        : changes.length === 0 || (changes.length === 1 && changes[0]!.path === path)
          ? ''
          : countChanges(changes)
    const notes = [counts, uncached ? 'missing from cache' : '', origin === 'stage' ? 'out of a stage' : '']
      .filter(Boolean)
      .join(', ')
    lines.push(`${state.padEnd(9)}  ${shown(path)}${notes ? `  (${notes})` : ''}`)
    if (changes && state !== 'absent') lines.push(...renderFiles(path, changes))
    const hint = hintFor(state, uncached)
    if (hint && origin === 'pointer') hints.add(`  ${state}: ${hint}`)
  }
  return [...lines, ...hints].join('\n')
}

export function renderDiff(diffs: readonly EntryDiff[], options: { md: boolean; stat: boolean }): string {
  const changed = diffs.filter((diff) => diff.changes === undefined || diff.changes.length > 0)
  if (options.md) return renderDiffMarkdown(changed, options.stat)
  const lines: string[] = []
  for (const { path, before, after, changes } of changed) {
    const word = !before ? 'added' : !after ? 'deleted' : 'modified'
    const counts =
      changes === undefined
        ? 'files unknown: no list of them here'
        : changes.length === 1 && changes[0]!.path === path
          ? ''
          : countChanges(changes)
    lines.push(
      `${word.padEnd(8)}  ${shown(path)}  (${describeSize(before)} → ${describeSize(after)})${counts ? `  ${counts}` : ''}`,
    )
    if (changes && !options.stat) lines.push(...renderFiles(path, changes))
  }
  return lines.join('\n')
}

function renderDiffMarkdown(diffs: readonly EntryDiff[], stat: boolean): string {
  if (diffs.length === 0) return 'No data changed.'
  const cell = (text: string) => shown(text).replaceAll('|', '\\|')
  const rows = diffs.map(
    ({ path, before, after, changes }) =>
      `| ${cell(path)} | ${describeSize(before)} | ${describeSize(after)} | ${changes ? countChanges(changes) : 'unknown'} |`,
  )
  const table = ['| path | before | after | files |', '| --- | --- | --- | --- |', ...rows]
  if (stat) return table.join('\n')
  const files = diffs.flatMap((diff) => diff.changes ?? []).slice(0, 100)
  return [
    ...table,
    '',
    ...files.map((change) => `- ${change.kind} \`${cell(change.from ? `${change.from} → ${change.path}` : change.path)}\``),
  ].join('\n')
}

export function renderCheckout(result: CheckoutResult, dryRun: boolean): string {
  const lines = result.paths.map(({ path, placed, removed, missing }) => {
    const parts = [
      placed > 0 ? `${plural(placed, 'file')} ${dryRun ? 'to write' : 'written'}` : '',
      removed > 0 ? `${plural(removed, 'file')} ${dryRun ? 'to remove' : 'removed'}` : '',
      missing > 0 ? `${plural(missing, 'file')} not in the cache` : '',
    ]
    return `${shown(path)}  (${parts.filter(Boolean).join(', ')})`
  })
  return lines.length === 0 && result.missing.length === 0 ? 'everything is checked out' : lines.join('\n')
}

export function renderMissing(missing: readonly { path: RepoPath; revision?: string; size: number }[]): string {
  const lines = missing
    .slice(0, SHOWN)
    .map(
      (item) =>
        `  ${shown(item.path)}${item.revision && item.revision !== 'workspace' ? ` of ${item.revision}` : ''}  (${formatBytes(item.size)})`,
    )
  if (missing.length > SHOWN) lines.push(`  … and ${formatCount(missing.length - SHOWN)} more`)
  return lines.join('\n')
}

/** One line for a transfer: what was sent or got, and what chunks spared. */
export function renderSync(result: SyncResult, words: { done: string; would: string; nothing: string }, dryRun: boolean): string {
  if (result.objects === 0) return words.nothing
  const verb = dryRun ? words.would : words.done
  const saved =
    result.saved > 0 ? `; chunks already there saved ${formatBytes(result.saved)} of ${formatBytes(result.bytes)}` : ''
  return `${verb} ${plural(result.objects, 'object')}, ${formatBytes(dryRun ? result.bytes : result.bytes - result.saved)}${saved}`
}
