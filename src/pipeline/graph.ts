import { MlvError } from '../base/errors.ts'
import { parentOf, parentsOf, type RepoPath } from '../base/paths.ts'
import { type Out, type Pipeline, type Place, placeText, type Stage } from './stage.ts'
import { unknownStage } from './unknown-stage.ts'

/** Who runs before whom. Names of stages; lists in the order of mlv.yaml. */
export interface StageGraph {
  stages: Map<string, Stage>
  /** every stage behind all it waits for; else as in mlv.yaml */
  order: string[]
  /** stages that make what a stage reads */
  upstream: Map<string, string[]>
  /** stages that read what a stage makes */
  downstream: Map<string, string[]>
  /** outs by path */
  makers: Map<RepoPath, { stage: Stage; out: Out }>
}

type Makers = StageGraph['makers']

/** @throws PIPELINE_INVALID when two outs are one path or lie within each other */
function collectOuts(pipeline: Pipeline): Makers {
  const makers: Makers = new Map()
  for (const stage of pipeline.stages)
    for (const out of stage.outs) {
      const other = makers.get(out.path)
      if (other?.stage === stage)
        throw new MlvError(
          'PIPELINE_INVALID',
          `${placeText(out.at)}: "${out.path}" is an out of stage "${stage.name}" already (${placeText(other.out.at)})`,
          { hint: 'Name it once: below outs, metrics or plots.' },
        )
      if (other)
        throw new MlvError(
          'PIPELINE_INVALID',
          `${placeText(out.at)}: "${out.path}" is an out of stage "${stage.name}" and of stage "${other.stage.name}" (${placeText(other.out.at)})`,
          { hint: 'Let one stage write it, and the other read it.' },
        )
      makers.set(out.path, { stage, out })
    }
  for (const [path, { stage, out }] of makers)
    for (const folder of parentsOf(path)) {
      const outer = makers.get(folder)
      if (outer)
        throw new MlvError(
          'PIPELINE_INVALID',
          `${placeText(out.at)}: the out "${path}" of stage "${stage.name}" lies within "${folder}", an out of stage "${outer.stage.name}" (${placeText(outer.out.at)})`,
          { hint: 'Name the files one by one, or only the folder.' },
        )
    }
  return makers
}

function inputsOf(stage: Stage): { path: RepoPath; at: Place }[] {
  if (stage.params.length === 0) return stage.deps
  const files = new Map(stage.params.map((param) => [param.file, { path: param.file, at: param.at }]))
  return [...stage.deps, ...files.values()]
}

/** For every input of every stage: the stages whose outs it is, holds or lies in. @throws PIPELINE_INVALID when a stage reads what it makes */
function findEdges(pipeline: Pipeline, makers: Makers): Map<string, Set<string>> {
  const below = new Map<RepoPath, Set<Stage>>()
  for (const [path, { stage }] of makers)
    for (const folder of parentsOf(path)) {
      const inside = below.get(folder)
      if (inside) inside.add(stage)
      else below.set(folder, new Set([stage]))
    }
  // Inputs that share a folder, most often, share what is above them.
  const above = new Map<RepoPath, Stage[]>()
  const makersAbove = (folder: RepoPath): Stage[] => {
    let found = above.get(folder)
    if (!found) {
      found = folder === '' ? [] : [...makersAt(folder), ...makersAbove(parentOf(folder))]
      above.set(folder, found)
    }
    return found
  }
  const makersAt = (path: RepoPath): Stage[] => {
    const maker = makers.get(path)?.stage
    return maker ? [maker] : []
  }
  const edges = new Map<string, Set<string>>()
  for (const stage of pipeline.stages) {
    const found = new Set<string>()
    for (const { path, at } of inputsOf(stage)) {
      for (const source of [...makersAt(path), ...makersAbove(parentOf(path)), ...(below.get(path) ?? [])]) {
        if (source === stage)
          throw new MlvError(
            'PIPELINE_INVALID',
            `${placeText(at)}: stage "${stage.name}" reads "${path}" and writes it, or in it`,
            {
              hint: 'Let it write somewhere else, or name the files that it reads one by one.',
            },
          )
        found.add(source.name)
      }
    }
    edges.set(stage.name, found)
  }
  return edges
}

/** Every stage that is left waits for another one that is left: walking back must come round. */
function findCycle(edges: Map<string, Set<string>>, left: Set<string>): string[] {
  const path: string[] = []
  let name = left.values().next().value!
  while (!path.includes(name)) {
    path.push(name)
    name = [...edges.get(name)!].find((source) => left.has(source))!
  }
  return [name, ...path.slice(path.indexOf(name) + 1).reverse(), name]
}

/** Stages in the order of mlv.yaml; one that must wait comes as soon as the last it waits for is through. No recursion: chains may be long. */
function sortStages(pipeline: Pipeline, edges: Map<string, Set<string>>, downstream: Map<string, string[]>): string[] {
  const position = new Map(pipeline.stages.map((stage, index) => [stage.name, index]))
  const waiting = new Map(pipeline.stages.map((stage) => [stage.name, edges.get(stage.name)!.size]))
  const order: string[] = []
  const done = new Set<string>()
  const visit = (start: string) => {
    const pending = [start]
    while (pending.length > 0) {
      const name = pending.pop()!
      if (done.has(name) || waiting.get(name)! > 0) continue
      done.add(name)
      order.push(name)
      for (const next of downstream.get(name)!.toReversed()) {
        waiting.set(next, waiting.get(next)! - 1)
        // A stage that stands earlier in the file was passed over while it waited.
        if (waiting.get(next) === 0 && position.get(next)! < position.get(start)!) pending.push(next)
      }
    }
  }
  for (const stage of pipeline.stages) visit(stage.name)
  if (order.length === pipeline.stages.length) return order
  const left = new Set(pipeline.stages.map((stage) => stage.name).filter((name) => !done.has(name)))
  const cycle = findCycle(edges, left)
  const first = pipeline.stages.find((stage) => stage.name === cycle[0])!
  throw new MlvError('PIPELINE_INVALID', `${placeText(first.at)}: the stages wait for each other: ${cycle.join(' → ')}`, {
    hint: 'Take one of these deps or outs out of mlv.yaml.',
  })
}

/** Joins stages by what they write and read: a dep may be an out, lie in one, or be a folder that holds one.
 *  @throws PIPELINE_INVALID for a cycle (with the whole loop), for outs that overlap, for a stage that reads its own out */
export function buildGraph(pipeline: Pipeline): StageGraph {
  const makers = collectOuts(pipeline)
  const edges = findEdges(pipeline, makers)
  const downstream = new Map<string, string[]>(pipeline.stages.map((stage) => [stage.name, []]))
  for (const stage of pipeline.stages) for (const source of edges.get(stage.name)!) downstream.get(source)!.push(stage.name)
  return {
    stages: new Map(pipeline.stages.map((stage) => [stage.name, stage])),
    order: sortStages(pipeline, edges, downstream),
    upstream: new Map([...edges].map(([name, sources]) => [name, [...sources]])),
    downstream,
    makers,
  }
}

/** @throws STAGE_UNKNOWN */
export function stageNamed(graph: StageGraph, name: string): Stage {
  const stage = graph.stages.get(name)
  if (stage) return stage
  throw unknownStage(name, graph.order)
}

/** A stage, or all that the foreach or matrix of that name makes. @throws STAGE_UNKNOWN */
function groupNamed(graph: StageGraph, name: string): string[] {
  const made = graph.stages.has(name) ? [] : graph.order.filter((other) => other.startsWith(`${name}@`))
  return made.length > 0 ? made : [stageNamed(graph, name).name]
}

/** The named stages (or groups of them) and all that `edges` lead to from them, in the graph's order. @throws STAGE_UNKNOWN */
export function reach(graph: StageGraph, names: string[], edges: Map<string, string[]> | undefined): string[] {
  const found = new Set<string>()
  const pending = names.flatMap((name) => groupNamed(graph, name))
  while (pending.length > 0) {
    const name = pending.pop()!
    if (found.has(name)) continue
    found.add(name)
    pending.push(...(edges?.get(name) ?? []))
  }
  return graph.order.filter((name) => found.has(name))
}
