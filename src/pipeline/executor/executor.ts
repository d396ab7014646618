import type { Turn } from '../../base/concurrency.ts'
import type { RepoPath } from '../../base/paths.ts'
import type { Aside } from '../aside.ts'
import type { DecisionView } from '../decide.ts'
import type { DoneBatch, Failure } from '../map-results.ts'
import type { Observer } from '../observer.ts'
import type { PlannedDatum } from '../plan-datums.ts'
import type { RunRecord } from '../run-record.ts'
import type { Stage } from '../stage.ts'
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

/** A map stage whose datums are run, and who takes what they give. */
export interface DatumsPlace extends Pick<TaskPlace, 'project' | 'onOutput'> {
  stage: Stage
  /** an absolute path where nothing lies, for what the datums write */
  work: string
  aside: Aside
  /** commands at once */
  jobs: number
  /** gets those that did not give their part */
  failures: Failure[]
  /** what can be done beside the first command */
  meanwhile: () => void
  /** Stores what a batch wrote. @returns whether its folders are empty then */
  take(batch: DoneBatch): Promise<boolean>
}

/** Runs what stages do, somewhere. */
export interface Executor {
  /** Runs a task. When it returns, the outs lie in the place. When it throws, what lay there before does.
   *  @throws STAGE_FAILED (its `cause` a CommandEnd, where a command failed), INTERRUPTED, OBJECT_MISSING, LOCK_HELD, PATH_MISSING, PATH_INVALID, DISK_FULL */
  run(task: Task, place: TaskPlace): Promise<TaskResult>
  /** Runs a map stage's command for datums, some at once; one that fails keeps no other from running. When it returns, all is taken in.
   *  @throws INTERRUPTED, PATH_MISSING, DISK_FULL, and what `take` throws */
  runDatums(datums: readonly PlannedDatum[], place: DatumsPlace): Promise<void>
}
