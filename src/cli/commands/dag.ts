import { type Configure, example } from '../command.ts'

/** Wide enough for a page, when there is no terminal to ask. */
const COLUMNS = 160

export const configure: Configure = (command, act) => {
  command
    .argument('[stages...]', 'these and all they wait for; all stages without')
    .option('--mermaid', "in Mermaid's language, for Markdown")
    .option('--dot', "in Graphviz's language")
  example(command, 'mlv dag', 'mlv dag --mermaid >> README.md', 'mlv dag --dot | dot -Tsvg -o dag.svg')
  command.action(
    act(async ({ output, project }, stages: string[], options: { mermaid?: boolean; dot?: boolean }) => {
      const [{ openPipeline }, { reach }, { renderDag, renderDot, renderMermaid }] = await Promise.all([
        import('../../pipeline/open-pipeline.ts'),
        import('../../pipeline/graph.ts'),
        import('../render/dag.ts'),
      ])
      const graph = await openPipeline(await project())
      const names = stages.length === 0 ? graph.order : reach(graph, stages, graph.upstream)
      const dag = { nodes: names.map((name) => ({ name, after: graph.upstream.get(name)! })) }
      output.answer({ stages: dag.nodes.map(({ name, after }) => ({ stage: name, after })) }, () => {
        if (options.mermaid) return renderMermaid(dag)
        return options.dot ? renderDot(dag) : renderDag(dag, process.stdout.columns ?? COLUMNS)
      })
    }),
  )
}
