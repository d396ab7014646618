import { isWithin, type RepoPath } from '../base/paths.ts'
import type { StageGraph } from './graph.ts'
import type { Stage } from './stage.ts'

function reads(stage: Stage, changed: readonly RepoPath[]): boolean {
  const inputs = [...stage.deps.map(({ path }) => path), ...stage.params.map(({ file }) => file)]
  return inputs.some((input) => changed.some((path) => isWithin(path, input) || isWithin(input, path)))
}

/** The stages that would run again because some paths change: those that read them, and all that wait for one, in the order they run.
 *  Frozen ones do not, nor do those that wait for nothing else. */
export function affectedStages(graph: StageGraph, changed: readonly RepoPath[]): string[] {
  const affected = new Set<string>()
  for (const name of graph.order) {
    const stage = graph.stages.get(name)!
    if (stage.frozen) continue
    if (graph.upstream.get(name)!.some((above) => affected.has(above)) || reads(stage, changed)) affected.add(name)
  }
  return [...affected]
}
