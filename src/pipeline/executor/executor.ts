/** One command of a stage. */
export interface CommandRun {
  command: string
  /** the shell and its options; -c and the command follow. '' is /bin/sh */
  shell: string
  /** absolute */
  cwd: string
  env: Record<string, string | undefined>
  /** seconds */
  timeout?: number
  /** aborted: the command is asked to stop, then made to */
  signal?: AbortSignal
  /** told the process group, when it has one on this machine */
  onStart?: (group: number) => void
  /** told what it prints; a promise holds it back until it settles */
  onOutput: (bytes: Buffer, from: 'stdout' | 'stderr') => void | Promise<void>
}

export type CommandEnd =
  /** `left`: the process group of what it left running */
  | { kind: 'done'; left?: number }
  | { kind: 'failed'; status: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed out' }
  | { kind: 'interrupted' }

/** Runs commands somewhere. Its promise settles when the command has ended and what it printed has been told. */
export interface Executor {
  run(run: CommandRun): Promise<CommandEnd>
}
