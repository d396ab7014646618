import type { Decision } from '../../pipeline/decide.ts'
import type { StageGraph } from '../../pipeline/graph.ts'
import type { Project } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import type { DagState } from '../render/dag.ts'

/** Wide enough for a page, when there is no terminal to ask. */
const COLUMNS = 160

interface Options {
  mermaid?: boolean
  dot?: boolean
  status?: boolean
}

const STATES: Record<Decision['kind'], DagState> = {
  unchanged: 'unchanged',
  frozen: 'frozen',
  run: 'run',
  blocked: 'blocked',
  restore: 'absent',
  absent: 'absent',
}

/** The stages and how each stands, as a dry run would say. */
async function openStates(project: Project): Promise<{ graph: StageGraph; states: Map<string, DagState> }> {
  const [{ openScene }, { planRepro }] = await Promise.all([
    import('../../pipeline/open-scene.ts'),
    import('../../pipeline/plan.ts'),
  ])
  const scene = await openScene(project)
  try {
    const { stages } = await planRepro(scene, { stages: [] })
    return { graph: scene.graph, states: new Map(stages.map(({ stage, decision }) => [stage.name, STATES[decision.kind]])) }
  } finally {
    await scene.data.close()
  }
}

export const configure: Configure = (command, act) => {
  command
    .argument('[stages...]', 'these and all they wait for; all stages without')
    .option('--status', 'mark what would run and what would not')
    .option('--mermaid', "in Mermaid's language, for Markdown")
    .option('--dot', "in Graphviz's language")
  example(command, 'mlv dag', 'mlv dag --status', 'mlv dag --mermaid >> README.md', 'mlv dag --dot | dot -Tsvg -o dag.svg')
  command.action(
    act(async ({ output, project: open }, stages: string[], options: Options) => {
      const [{ openPipeline }, { reach }, { colorDag, dagLegend, renderDag, renderDot, renderMermaid }] = await Promise.all([
        import('../../pipeline/open-pipeline.ts'),
        import('../../pipeline/graph.ts'),
        import('../render/dag.ts'),
      ])
      const project = await open()
      const { graph, states } = options.status ? await openStates(project) : { graph: await openPipeline(project) }
      const names = stages.length === 0 ? graph.order : reach(graph, stages, graph.upstream)
      const dag = { nodes: names.map((name) => ({ name, after: graph.upstream.get(name)!, state: states?.get(name) })) }
      const answer = dag.nodes.map(({ name, after, state }) => ({ stage: name, after, ...(state ? { state } : {}) }))
      output.answer({ stages: answer }, () => {
        if (options.mermaid) return renderMermaid(dag)
        if (options.dot) return renderDot(dag)
        const text = renderDag(dag, process.stdout.columns ?? COLUMNS)
        if (!states) return text
        const whole = `${text}\n\n${dagLegend(dag)}`
        return output.color ? colorDag(whole) : whole
      })
    }),
  )
}
