// Package train does what radtrain is asked for: it connects the trainer, which knows no
// servers, to the streams, files and native libraries around it.
//
//	Phantoms   phantom studies -> ingest -> archive file and manifest
//	Studies    folders, CSVs or MIMIC-CXR -> ingest -> archive file and manifests
//	Freeze     a range of PREPARED -> manifest
//	Load       manifests -> messages, checked by hash -> trainer.Dataset
//	Fit        dataset -> trainer.Fit over libtorch -> model directory
//	Compare    Fit of the whole model and of variants -> phantoms -> eval.Compare
//	Evaluate*  model directory and phantoms, studies, or a data set of services/datasets -> embedder (ONNX Runtime) -> trainer/eval
//
// Only stepper_torch.go, which is built with the tag torch, knows libtorch; without the tag
// [Fit] says how to get it, and everything else works.
package train
