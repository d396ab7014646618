import { MlvError } from '../../base/errors.ts'
import { type Configure, example } from '../command.ts'
import type { Context } from '../context.ts'

const MARKS = { done: 'done  ', new: 'new   ', failed: 'failed' }

async function list({ output, project: open }: Context, name: string): Promise<void> {
  const project = await open()
  const [
    { openScene },
    { stageNamed },
    { createView },
    { readInputs },
    { planDatums },
    { noDatumsText },
    { formatBytes },
    { shown },
  ] = await Promise.all([
    import('../../pipeline/open-scene.ts'),
    import('../../pipeline/graph.ts'),
    import('../../pipeline/plan.ts'),
    import('../../pipeline/inputs.ts'),
    import('../../pipeline/plan-datums.ts'),
    import('../../pipeline/no-datums.ts'),
    import('../render/amount.ts'),
    import('../render/changes.ts'),
  ])
  const scene = await openScene(project)
  try {
    const stage = stageNamed(scene.graph, name)
    if (!stage.each)
      throw new MlvError('USAGE', `Stage "${name}" has no each: it runs once`, { hint: 'See docs/pipelines.md, "Map stages".' })
    const view = createView(scene, { allowMissing: true })
    const inputs = await readInputs(stage, scene.lock.stages.get(name), { ...view, env: project.surroundings.env })
    if (inputs.problem) throw inputs.problem
    const { datums } = await planDatums(stage, inputs, view)
    const size = (parts: { size: number }[]) => parts.reduce((sum, part) => sum + part.size, 0)
    output.answer(
      datums.map(({ datum, key, state }) => ({
        datum: datum.name,
        state,
        key,
        parts: datum.parts.map(({ input, path, oid, size: bytes, groups }) => ({ input, path, oid, size: bytes, groups })),
      })),
      () =>
        datums.length === 0
          ? noDatumsText(stage)
          : datums
              .map(({ datum, state }) => `${MARKS[state]}  ${shown(datum.name)}  ${formatBytes(size(datum.parts))}`)
              .join('\n'),
    )
  } finally {
    await scene.data.close()
  }
}

export const configure: Configure = (command, act) => {
  const listing = command.command('list').description('what the inputs are cut into, and what has run').argument('<stage>')
  example(listing, 'mlv datum list thumbs')
  listing.action(act(list))
  example(command, 'mlv datum list thumbs')
}
