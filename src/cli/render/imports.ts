import { shortId } from '../../git/short-id.ts'
import type { Imported } from '../../workspace/place-import.ts'
import { describeSize, shown } from './changes.ts'

function describeSource({ source }: Imported): string {
  if (!('repo' in source)) return source.url
  return `${source.repo} ${source.path} at ${source.rev === undefined ? '' : `${source.rev}, `}${shortId(source.commit)}`
}

/** One line per import: what came from where. */
export function renderImported(results: readonly Imported[]): string {
  return results
    .map((item) => {
      const size = describeSize(item.entry)
      if (!item.changed) return `unchanged  ${shown(item.path)}`
      if (item.before)
        return `updated  ${shown(item.path)}  (${size}, was ${describeSize(item.before)})  from ${shown(describeSource(item))}`
      return `imported  ${shown(item.path)}  (${size})  from ${shown(describeSource(item))}`
    })
    .join('\n')
}
