import { shortId } from '../../git/short-id.ts'
import type { CommittedImports } from '../../workspace/commit-imports.ts'
import type { ImportState } from '../../workspace/trigger.ts'
import { shown } from './changes.ts'

/** What `mlv trigger` found out. */
export interface TriggerAnswer {
  imports: (ImportState & { stages: string[] })[]
  /** all stages that would run again, in their order */
  stages: string[]
  committed: CommittedImports | undefined
}

function placeOf({ source }: ImportState): string {
  return 'repo' in source ? `${source.repo} ${source.path}${source.rev === undefined ? '' : ` at ${source.rev}`}` : source.url
}

function renderImport(item: TriggerAnswer['imports'][number]): string {
  const { state, counts, stages } = item
  const line = `${state}  ${shown(item.path)}  from ${shown(placeOf(item))}`
  switch (state) {
    case 'unchanged':
      return line
    case 'failed':
      return `${line}: ${item.error!.message}`
    case 'unknown':
      return `${line}, which names no version; compare its bytes with --read`
    case 'changed': {
      const files = counts ? `  +${counts.added} −${counts.deleted} ~${counts.modified}` : ''
      return `${line}${files}${stages.length > 0 ? `  → ${stages.join(', ')}` : ''}`
    }
  }
}

function renderCommit({ branch, commit, paths, pushed, failed }: CommittedImports): string {
  const sent = pushed ? ', and pushed it' : ''
  if (paths.length > 0) return `committed ${shortId(commit!)} to ${branch}${sent}`
  if (commit === undefined || failed.length > 0) return ''
  return pushed ? `pushed ${branch}` : `${branch} has all of it already`
}

export function renderTrigger({ imports, committed }: TriggerAnswer): string {
  if (imports.length === 0) return 'nothing was imported; see "mlv import --help"'
  const isNews = imports.some(({ state }) => state === 'changed')
  return [...imports.map(renderImport), committed && isNews ? renderCommit(committed) : ''].filter(Boolean).join('\n')
}

/** The same for programs: what is not known is null. */
export function triggerJson({ imports, stages, committed }: TriggerAnswer): unknown {
  return {
    changed: imports.some(({ state }) => state === 'changed'),
    imports: imports.map(({ path, source, state, before, after, counts, stages: own, error }) => {
      const from = 'repo' in source ? { repo: source.repo, path: source.path, rev: source.rev } : { url: source.url }
      const { code, message } = error ?? {}
      return { path, source: from, state, before, after, files: counts ?? null, stages: own, error: error && { code, message } }
    }),
    stages,
    committed: committed && {
      ...{ branch: committed.branch, commit: committed.commit ?? null, paths: committed.paths, pushed: committed.pushed },
    },
  }
}
