// Package films makes and measures the classifier that ingest looks at films with: is it a
// lateral, is it a chest at all, is it inverted, is it whole (pixel.Classifier), and measures
// the quality gate that rests on it.
//
// Flow: real films of the collections and phantoms ([Read]) -> what may be wrong with them is
// made ([Faults], fakes) -> each is rendered as ingest renders it and described by
// pixel.Features -> [Collection.Train] fits a network of one hidden layer (network.go), and
// makes probabilities of its margins by what networks say of films they did not see. Nothing
// is drawn that a seed does not fix: the same films give the same file.
//
// [Collection.EvaluateViews] leaves one collection out at a time; [Collection.EvaluateQuality]
// leaves out a fifth of the patients, and one kind of picture that is no chest film, at a time.
package films
