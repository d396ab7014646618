/** Scales a row as the model was trained, and answers the probability of each class. */
export function predict(model, features) {
  const scaled = features.map((value, i) => (value - model.means[i]) / model.deviations[i])
  return softmax(model.weights.map((weights, k) => weights.reduce((sum, weight, i) => sum + weight * scaled[i], model.biases[k])))
}

function softmax(scores) {
  const highest = Math.max(...scores)
  const powers = scores.map((score) => Math.exp(score - highest))
  const total = powers.reduce((sum, power) => sum + power, 0)
  return powers.map((power) => power / total)
}
