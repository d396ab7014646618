import type { MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Reason } from './reason.ts'
import type { StageCheck } from './trace/check-deps.ts'

/** What happens while a plan is carried out. */
export type StageEvent =
  /** data that changed by hand was recorded in its pointer */
  | { kind: 'added'; path: RepoPath }
  | { kind: 'started'; stage: string; reasons: Reason[] }
  | {
      kind: 'ran'
      stage: string
      /** map stages */
      datums?: { ran: number; kept: number; given: number }
      reasons: Reason[]
      seconds: number
      /** deps that changed meanwhile: it will run again */
      changed: RepoPath[]
      /** those of them that are no longer there */
      gone?: RepoPath[]
      /** what it did without declaring it, where that was looked at */
      check?: StageCheck
    }
  | { kind: 'unchanged' | 'frozen'; stage: string }
  /** `from`: its outs came back as mlv.lock has them, or as a run with the same key made them */
  | { kind: 'restored'; stage: string; outs: RepoPath[]; from: 'lock' | 'run cache'; reasons: Reason[] }
  /** nothing changed, but its outs are not here */
  | { kind: 'absent'; stage: string; outs: RepoPath[] }
  | { kind: 'failed'; stage: string; error: MlvError }
  /** a stage it waits for failed */
  | { kind: 'skipped'; stage: string; because: string }
  /** the last event: files that are to be committed */
  | { kind: 'written'; files: RepoPath[] }
