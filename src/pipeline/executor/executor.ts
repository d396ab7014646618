import type { Turn } from '../../base/concurrency.ts'
import type { RepoPath } from '../../base/paths.ts'
import type { DecisionView } from '../decide.ts'
import type { Observer } from '../observer.ts'
import type { RunRecord } from '../run-record.ts'
import type { Task, TaskInput } from '../task.ts'
import type { CommandRun } from './shell.ts'

/** What a task gave. */
export interface TaskResult {
  /** all outs, each hashed, and in the cache unless git alone keeps it */
  outs: RunRecord['outs']
  /** deps that changed while it ran: nobody knows of which inputs the outs are */
  changed: RepoPath[]
  /** that its commands took */
  seconds: number
}

/** Where a task's inputs are to be found and its outs are wanted. */
export interface TaskPlace extends Pick<DecisionView, 'project' | 'data'> {
  observer: Pick<Observer, 'dep' | 'forget'>
  /** inputs that do not lie there: the cache has them */
  absent: readonly TaskInput[]
  /** one at a time looks at the workspace and the cache; only commands run side by side */
  turn: Turn
  /** the cache keeps also the outs that git keeps, for the run cache */
  saveAll: boolean
  /** it is removed afterwards: no message leads there */
  isScratch?: true
  /** told when its commands have succeeded, before their outs are looked at; throws to fail it */
  check?: () => void
  /** what its commands print, besides going to its log; a promise holds them back */
  onOutput?: CommandRun['onOutput']
}

/** Runs tasks somewhere. When it returns, the outs lie in the place. When it throws, what lay there before does.
 *  @throws STAGE_FAILED (its `cause` a CommandEnd, where a command failed), INTERRUPTED, OBJECT_MISSING, LOCK_HELD, PATH_MISSING, PATH_INVALID, DISK_FULL */
export interface Executor {
  run(task: Task, place: TaskPlace): Promise<TaskResult>
}
