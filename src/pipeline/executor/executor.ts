/** One command of a stage. */
export interface CommandRun {
  command: string
  /** absolute */
  cwd: string
  env: Record<string, string | undefined>
  /** seconds */
  timeout?: number
  /** aborted: the command is asked to stop, then made to */
  signal?: AbortSignal
  /** told the process group, when it has one on this machine */
  onStart?: (group: number) => void
}

export type CommandEnd =
  | { kind: 'done' }
  | { kind: 'failed'; status: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed out' }
  | { kind: 'interrupted' }

/** Runs commands somewhere. Its promise settles when the command has ended; what it prints goes to the user, not to us. */
export interface Executor {
  run(run: CommandRun): Promise<CommandEnd>
}
