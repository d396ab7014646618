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
  add: { group: 'Data', summary: 'track files and folders, or record how they changed', load: () => import('./commands/add.ts') },
  status: { group: 'Data', summary: 'what changed, and which stages would run', load: () => import('./commands/status.ts') },
  diff: { group: 'Data', summary: 'compare the data of two revisions, down to files', load: () => import('./commands/diff.ts') },
  checkout: {
    group: 'Data',
    summary: 'make the workspace hold what the pointers say',
    load: () => import('./commands/checkout.ts'),
  },
  ls: { group: 'Data', summary: 'list what is tracked, here or in another repository', load: () => import('./commands/ls.ts') },
  cat: { group: 'Data', summary: 'print a file as it was at a revision', load: () => import('./commands/cat.ts') },
  du: { group: 'Data', summary: 'how much tracked paths and their folders hold', load: () => import('./commands/du.ts') },
  get: {
    group: 'Data',
    summary: 'write a file or folder as it was at a revision, here or in another repository',
    load: () => import('./commands/get.ts'),
  },
  import: {
    group: 'Data',
    summary: "take another project's data, pinned to a commit of it",
    load: () => import('./commands/import.ts'),
  },
  'import-url': {
    group: 'Data',
    summary: 'take data of a bucket or web server, pinned to this version of it',
    load: () => import('./commands/import-url.ts'),
  },
  export: {
    group: 'Data',
    summary: 'write plain files to a bucket or folder, for programs that know nothing of mlv',
    load: () => import('./commands/export.ts'),
  },
  update: { group: 'Data', summary: 'take newer versions of imported data', load: () => import('./commands/update.ts') },
  trigger: {
    group: 'Data',
    summary: 'for cron and CI: whether imported data has newer versions, and what would run again',
    load: () => import('./commands/trigger.ts'),
  },
  remove: { group: 'Data', summary: 'stop tracking files and folders', load: () => import('./commands/remove.ts') },
  move: { group: 'Data', summary: 'rename a tracked path with its pointer', load: () => import('./commands/move.ts') },
  unprotect: {
    group: 'Data',
    summary: 'make links into the cache writable copies',
    load: () => import('./commands/unprotect.ts'),
  },
  drop: {
    group: 'Data',
    summary: 'remove local copies that a remote holds',
    load: () => import('./commands/drop.ts'),
  },
  push: { group: 'Remotes', summary: 'send what the remote lacks', load: () => import('./commands/push.ts') },
  pull: { group: 'Remotes', summary: 'get what the cache lacks, and check it out', load: () => import('./commands/pull.ts') },
  fetch: { group: 'Remotes', summary: 'get what the cache lacks', load: () => import('./commands/fetch.ts') },
  fsck: {
    group: 'Remotes',
    summary: 'check that the cache or a remote is whole, and mend it',
    load: () => import('./commands/fsck.ts'),
  },
  purge: {
    group: 'Data',
    summary: 'delete data from every commit for good, here and on a remote',
    load: () => import('./commands/purge.ts'),
  },
  remote: {
    group: 'Remotes',
    summary: 'the places that data is pushed to and pulled from',
    load: () => import('./commands/remote.ts'),
  },
  gc: {
    group: 'Remotes',
    summary: 'delete what nothing needs from the cache or a remote',
    load: () => import('./commands/gc.ts'),
  },
  config: { group: 'Set-up', summary: 'read and change settings', load: () => import('./commands/config.ts') },
  hooks: {
    group: 'Set-up',
    summary: 'let git place data after a switch, and push data before it pushes commits',
    load: () => import('./commands/hooks.ts'),
  },
  hook: {
    group: 'Set-up',
    summary: 'what the hooks that "mlv hooks install" writes call',
    hidden: true,
    load: () => import('./commands/hook.ts'),
  },
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
  migrate: {
    group: 'Set-up',
    summary: 'come from DVC: take its files and data over',
    load: () => import('./commands/migrate.ts'),
  },
  version: { group: 'Set-up', summary: 'the versions of mlv, Node and git', load: () => import('./commands/version.ts') },
  repro: {
    group: 'Pipelines',
    summary: 'run the stages whose inputs changed, and say why',
    load: () => import('./commands/repro.ts'),
  },
  exec: {
    group: 'Pipelines',
    summary: 'run a stage anywhere that reaches its store, without git',
    load: () => import('./commands/exec.ts'),
  },
  stage: {
    group: 'Pipelines',
    summary: 'add a stage to mlv.yaml, list them, or make a task of one',
    load: () => import('./commands/stage.ts'),
  },
  dag: { group: 'Pipelines', summary: 'draw which stages wait for which', load: () => import('./commands/dag.ts') },
  logs: { group: 'Pipelines', summary: 'what a stage printed when it last ran', load: () => import('./commands/logs.ts') },
  datum: {
    group: 'Pipelines',
    summary: "list the parts that a map stage's inputs are cut into",
    load: () => import('./commands/datum.ts'),
  },
  freeze: { group: 'Pipelines', summary: 'keep stages from running', load: () => import('./commands/freeze.ts') },
  unfreeze: { group: 'Pipelines', summary: 'let frozen stages run again', load: () => import('./commands/unfreeze.ts') },
  accept: {
    group: 'Pipelines',
    summary: 'record outs that changed by hand, without running',
    load: () => import('./commands/accept.ts'),
  },
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
