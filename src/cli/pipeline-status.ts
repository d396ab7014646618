import type { StageStatus } from '../pipeline/status.ts'
import type { Project } from '../workspace/project.ts'

function renderStage(status: StageStatus): string {
  switch (status.kind) {
    case 'run':
      return `would run  ${status.stage}  (${status.reasons.join('; ')})${status.blocked ? `\n  but: ${status.blocked}` : ''}`
    case 'restore':
      return `would get  ${status.stage}  (${status.outs.join(', ')} from the cache)`
    case 'absent':
      return `absent     stage ${status.stage}  (${status.outs.join(', ')}; ${status.cached ? 'run "mlv checkout"' : 'run "mlv pull"'})`
  }
}

/** Which stages would run, and why, for `mlv status`. */
export async function readPipelineStatus(project: Project): Promise<{ answer: StageStatus[]; text: string }> {
  const [{ pipelineStatus }, { openWorkspaceData }] = await Promise.all([
    import('../pipeline/status.ts'),
    import('../workspace/open-data.ts'),
  ])
  const data = await openWorkspaceData(project)
  try {
    const answer = await pipelineStatus(project, data)
    return { answer, text: answer.map(renderStage).join('\n') }
  } finally {
    await data.close()
  }
}
