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
  remote: {
    group: 'Remotes',
    summary: 'the places that data is pushed to and pulled from',
    load: () => import('./commands/remote.ts'),
  },
  config: { group: 'Set-up', summary: 'read and change settings', load: () => import('./commands/config.ts') },
  doctor: {
    group: 'Set-up',
    summary: 'check what mlv stands on: Node, git, links, remotes',
    load: () => import('./commands/doctor.ts'),
  },
  completion: {
    group: 'Set-up',
    summary: 'print a completion script for bash, zsh or fish',
    load: () => import('./commands/completion.ts'),
  },
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
  mlflow: {
    group: 'Experiments',
    summary: 'export experiments to an MLflow server',
    load: () => import('./commands/mlflow.ts'),
  },
}
