"use strict";
/* Words: one sentence for each op and step, as a teacher would say it. */

const SENTENCES = {
  add: ["Adds two tensors, number by number.", "A sum hands the gradient to both of its terms, unchanged."],
  add_relu: ["Adds two tensors and cuts what is below zero.", "Both terms get the gradient where the result is above zero, and nothing elsewhere."],
  sub: ["Subtracts one tensor from another.", "The first gets the gradient, the second its negative."],
  mul: ["Multiplies two tensors, number by number.", "Each factor gets the gradient times the other factor."],
  div: ["Divides one tensor by another.", "A small divisor makes a large gradient."],
  neg: ["Turns the sign.", "The gradient turns its sign, too."],
  pow: ["Raises to a power.", "The slope of x to the n is n times x to the n − 1."],
  exp: ["Takes e to the power x.", "The slope of exp is exp itself, so the output is used again."],
  log: ["Takes the natural logarithm.", "The gradient is divided by x."],
  sqrt: ["Takes the square root.", "The gradient is divided by twice the root."],
  abs: ["Drops the sign.", "The gradient passes with the sign that x had."],
  relu: ["Keeps what is above zero and cuts the rest.", "The gradient passes where the output is above zero, and nowhere else."],
  leaky_relu: ["Keeps what is above zero and shrinks the rest.", "Below zero the gradient shrinks as the value did."],
  sigmoid: ["Squeezes each number between 0 and 1.", "Far from zero the curve is flat, so little gradient passes."],
  tanh: ["Squeezes each number between −1 and 1.", "Far from zero the curve is flat, so little gradient passes."],
  gelu: ["A smooth relative of ReLU.", "The slope is smooth, near 0 on the left and near 1 on the right."],
  maximum: ["Takes the larger of two numbers.", "Only the larger one gets the gradient."],
  minimum: ["Takes the smaller of two numbers.", "Only the smaller one gets the gradient."],
  where: ["Picks from one tensor or the other.", "The gradient goes to where the number was taken from."],
  clip: ["Keeps each number between limits.", "The gradient passes between the limits."],
  sign: ["Keeps only the sign.", "It is flat nearly everywhere, so no gradient passes."],
  erf: ["The error function: the area under a bell curve.", "The slope is the bell curve itself."],
  einsum: ["Multiplies along named axes and sums over those that are left out.", "The same kind of product, with the gradient in the place of this input."],
  matmul: ["Multiplies two matrices: rows against columns.", "Two more matrix products, each with the other factor transposed."],
  conv2d: ["Slides a window over the image: at each place, a matrix product with the weights.", "The window runs backwards: one product for the image, one for the weights; a bias gets the sum of all pixels."],
  pointwise: ["A 1×1 convolution: each pixel's channels times one weight matrix.", "The matrix product runs backwards: one product for the pixels, one for the weights; a bias gets the sum of all pixels."],
  max_pool2d: ["Keeps the largest number under each window.", "Only the pixel that won its window gets the gradient."],
  avg_pool2d: ["Takes the mean under each window.", "Each pixel of a window gets an equal share of the gradient."],
  normalize: ["Gives each channel mean 0 and spread 1 over the batch, then scales and shifts it.", "The gradient loses its mean and what would only rescale the channel."],
  normalize_add_relu: ["Normalises each channel, adds the block's shortcut, and cuts what is below zero.", "Where the result is above zero the gradient goes both ways: through the norm, and along the shortcut."],
  standardize: ["Normalises each channel by the running mean and spread, then scales and shifts it.", "The gradient is scaled as the channel was."],
  dropout: ["Silences random numbers and scales up the rest.", "The gradient passes only through the numbers that were not silenced."],
  sum: ["Adds the numbers up.", "Each number that was added gets the same gradient."],
  mean: ["Takes the mean.", "Each number gets the same gradient, divided by their count."],
  max: ["Takes the largest.", "Only the largest gets the gradient."],
  var: ["Takes the variance: the mean squared distance from the mean.", "Numbers far from the mean get the larger gradients."],
  min: ["Takes the smallest.", "Only the smallest gets the gradient."],
  softmax: ["Turns scores into probabilities that add up to 1.", "Raising one probability lowers the others, so the gradients balance to zero."],
  log_softmax: ["Turns scores into logarithms of probabilities.", "The gradient is spread by the probabilities, and balances to zero."],
  logsumexp: ["A smooth maximum: the logarithm of a sum of exponentials.", "The gradient is shared out by the softmax."],
  cross_entropy: ["How surprised the model is by the true class of each example.", "Probability minus truth: the score of the true class is too low, the others are too high."],
  reshape: ["The same numbers in another shape.", "The gradient takes the old shape again."],
  squeeze: ["Drops axes of length 1.", "The gradient gets them back."],
  expand_dims: ["Adds an axis of length 1.", "The gradient loses it again."],
  setitem: ["A copy with one part replaced.", "The part's gradient goes to the new numbers, the rest to the old ones."],
  transpose: ["The same numbers with the axes in another order.", "The gradient turns its axes back."],
  broadcast_to: ["Repeats numbers to a larger shape.", "What was repeated in forward is added up in backward."],
  getitem: ["Picks a part.", "The gradient goes back to the part; the rest gets zero."],
  pad: ["Puts a border around.", "The border is cut off the gradient."],
  concatenate: ["Puts tensors end to end.", "The gradient is cut apart again."],
  stack: ["Puts tensors side by side along a new axis.", "The gradient is taken apart again."],
  checkpoint: ["Runs a part of the model without keeping what it computes, to save memory.", "The part is computed once more, with everything kept, and then walked back."],
  astype: ["Changes the dtype.", "The gradient comes back in the old dtype."],
};

/** The op's name as people call it. */
function plainName(op) {
  return op.replace(/^_+/, "");
}

function sentenceFor(node, backward) {
  const name = plainName(node.op).replace(/^conv2d_relu$/, "conv2d");
  const kernel = node.convolution && node.convolution.kernel;
  const entry = SENTENCES[kernel && kernel[0] * kernel[1] === 1 ? "pointwise" : name];
  const relu = node.convolution && node.convolution.activation === "relu";
  if (relu && entry) return backward ? `First the gradient is cut where ReLU was. ${entry[1]}` : `${entry[0]} Then ReLU cuts what is below zero.`;
  if (backward) return entry ? entry[1] : "The chain rule: the gradient that arrives, times the local slope.";
  return entry ? entry[0] : node.doc || "Computes its output from its inputs.";
}

const SEED_SENTENCE = "Backward begins here: the slope of the loss with respect to itself is 1.";

/** What has arrived of a gradient that comes on several paths. */
function arrivalSentence(passed) {
  if (passed.of === 1) return "The only path to it: this is the whole gradient.";
  const left = passed.of - passed.arrived;
  return left === 0 ? "All paths have arrived: the sum is the whole gradient." : `Paths meet here and add up; ${left} more to come.`;
}

function numberWord(n) {
  return ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"][n] || String(n);
}
