import type { Listed, Usage } from '../../workspace/list-data.ts'
import { formatBytes, plural } from './amount.ts'
import { shown } from './changes.ts'
import { renderTable } from './table.ts'

function nameIn(folder: string, path: string): string {
  return folder === '' || path === folder ? path : path.slice(folder.length + 1)
}

/** One name per line, folders with a slash behind; `long`: size, files and the beginning of the oid before it. */
export function renderListing(rows: readonly Listed[], folder: string, long: boolean): string {
  const name = (row: Listed) => shown(nameIn(folder, row.path)) + (row.kind === 'tree' || row.kind === 'folder' ? '/' : '')
  if (!long) return rows.map(name).join('\n')
  return renderTable(
    rows.map((row) => [
      row.kind,
      formatBytes(row.size),
      row.files === undefined ? '' : plural(row.files, 'file'),
      row.oid?.slice(0, 12) ?? '',
      name(row),
    ]),
    { align: ['left', 'right', 'right'] },
  )
}

/** Sizes and names, the sum last. */
export function renderUsage(rows: readonly Usage[]): string {
  return renderTable(
    rows.map((row) => [formatBytes(row.size), plural(row.files, 'file'), row.path === '' ? '.' : shown(row.path)]),
    { align: ['right', 'right'] },
  )
}
