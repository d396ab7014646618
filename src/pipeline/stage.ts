import type { RepoPath } from '../base/paths.ts'
import type { Each } from './each.ts'

/** Where something stands in mlv.yaml: `line:column`, 1-based. */
export type Place = string

export interface Dep {
  path: RepoPath
  at: Place
  /** cut into datums, and no part of what all datums share */
  each?: true
}

/** One key of one param file; '' stands for the whole file. */
export interface ParamRef {
  file: RepoPath
  key: string
  at: Place
}

export type OutRole = 'out' | 'metric' | 'plot'

export interface Out {
  path: RepoPath
  role: OutRole
  /** neither removed before a run nor rolled back after a failed one */
  persist: boolean
  /** git keeps it; else the store does */
  git: boolean
  at: Place
}

/** A named command with what it reads and what it writes. Plain data: it survives JSON. */
export interface Stage {
  name: string
  at: Place
  /** run one after another by the shell */
  cmd: string[]
  cmdAt: Place
  /** where the command runs; '' is the project's root */
  wdir: RepoPath
  deps: Dep[]
  params: ParamRef[]
  /** names of the declared variables */
  env: string[]
  /** outs, metrics and plots in the order written */
  outs: Out[]
  /** never runs */
  frozen: boolean
  /** runs every time */
  always: boolean
  desc?: string
  /** seconds one attempt may take */
  timeout?: number
  /** attempts after the first */
  retry: number
  /** what runs the commands, given the line as its last word after -c; '' is /bin/sh */
  shell: string
  /** a map stage: how its inputs are cut into datums */
  each?: Each
  /** datums that one run of the command gets, as a list; undefined: one */
  batch?: number
  /** names of which one holder runs at a time */
  mutex: string[]
  /** as written; what a run takes of the machine */
  resources?: Record<string, unknown>
}

export interface Pipeline {
  /** in the order written */
  stages: Stage[]
  /** one line each: unknown keys, repeated deps */
  warnings: string[]
}

/** The project's file of stages, relative to its root. */
export const PIPELINE_FILE = 'mlv.yaml'

/** The file that says what each stage was last run with, relative to the project's root. */
export const LOCK_FILE = 'mlv.lock'

/** A place as messages print it: `mlv.yaml:12:5`. */
export function placeText(at: Place): string {
  return at === '' ? PIPELINE_FILE : `${PIPELINE_FILE}:${at}`
}

/** Outs that the store keeps. */
export function storedOuts(stage: Pick<Stage, 'outs'>): Out[] {
  return stage.outs.filter((out) => !out.git)
}
