import type { Project, Surroundings } from '../workspace/project.ts'
import type { Output } from './output.ts'

/** What a command is handed: where it runs, how it speaks, and the project, opened when first asked for. */
export interface Context {
  output: Output
  surroundings: Surroundings
  /** @throws PROJECT_MISSING, GIT_MISSING */
  project(): Promise<Project>
}
