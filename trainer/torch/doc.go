package torch
