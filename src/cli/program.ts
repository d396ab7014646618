import type { Configure } from './command.ts'

export interface CommandEntry {
  summary: string
  /** shown under this heading in `mlv --help` */
  group: 'Start' | 'Data' | 'Remotes' | 'Pipelines' | 'Experiments' | 'Set-up'
  hidden?: boolean
  load: () => Promise<{ configure: Configure }>
}

/** Every verb, loaded only when it is the one asked for. */
export const COMMANDS: Record<string, CommandEntry> = {
  init: { group: 'Start', summary: 'make this git repository an mlv project', load: () => import('./commands/init.ts') },
  version: { group: 'Set-up', summary: 'the versions of mlv, Node and git', load: () => import('./commands/version.ts') },
  params: {
    group: 'Experiments',
    summary: 'show params, or compare them between revisions',
    load: () => import('./commands/params.ts'),
  },
  metrics: {
    group: 'Experiments',
    summary: 'show metrics, or compare them between revisions',
    load: () => import('./commands/metrics.ts'),
  },
  exp: {
    group: 'Experiments',
    summary: 'show experiments: the commits that changed params, metrics or results',
    load: () => import('./commands/exp.ts'),
  },
}
