"""What the words and figures of a report mean; a table's columns and a picture's axes link here."""

from __future__ import annotations

TERMS = {
    "case": "An implementation on a device, such as torch-cpu. Every case trains the same network from the same"
    " weights on the same minibatches in the same order.",
    "versions": "What was imported in the case's own interpreter.",
    "time": "Wall seconds of one round: a fixed number of updates from the initial weights, in short blocks, with the"
    " device finished at the end of each. The figure is that of the undisturbed blocks: the mean over launches of their"
    " medians. It excludes loading data, evaluation and messages. The book's rows took 1,000 epochs, which are 83,000"
    " iterations, with their validation passes.",
    "interval": "The range in brackets, or the bar: a 95 % interval, by Student's t over launches, since"
    " processes differ. A figure has as many digits as it supports.",
    "speedup": "From the ratios baseline / case of neighbouring blocks, the mean over launches of their medians: drift"
    " of the machine affects both and cancels. Above 1 the case is faster than the baseline.",
    "ratio": "The time, or the memory, after the change over that before. Above 1 it became slower, or larger.",
    "releases": "Each version of the package in an environment of its own, all of them in one campaign. The bars are"
    " 95 % intervals of the figures themselves; the verdicts are from ratios, which are sharper. To first step: build"
    " and first step of a process that found nothing compiled. Own memory is the peak without the pages of files, such"
    " as libraries; disk is the package with all that it needs. Starts have bars where --gate made every start cold.",
    "efficiency": "The time of the matrix products alone over the case's time, paired in the same way: with the fastest"
    " BLAS that was available, the step's five products alone need that share of the case's time. On a GPU the bound is"
    " the least time that the hardware allows: the products at the full rate, or the images at the full bandwidth,"
    " whichever takes longer.",
    "peak": "The time that the step's matrix products would take at the highest rate of the CPUs in use, over the"
    " case's time, paired in the same way. That rate is measured: a loop of multiplications and additions on registers,"
    " compiled for this processor, on each CPU at once.",
    "rate": "The floating-point operations of the step's five matrix products over the case's whole time.",
    "energy": "Joules of one round, the median: of the GPU's whole board for a case on a GPU (NVML), of the processor's"
    " packages for one on the CPU (RAPL), if the machine reports them.",
    "error": "Share of images that are classified wrongly after the round, computed by the harness in numpy from"
    " the case's weights. The book's 2 % is the training error of a re-run with its settings, whose validation"
    " error is 2.7 % and test error 3.0 %.",
    "epochs": "Passes over the training set: of MNIST, 83 updates each.",
    "target": "The validation error that was asked for, and the seconds of training by which it was first seen.",
    "resumed": "How often the training was interrupted and resumed from its checkpoint; the time is of the training"
    " alone.",
    "curve": "The validation error after so many updates and, in brackets or on the second axis, the seconds of"
    " training by then: updates x the case's measured time per step, where no clock ran. It is computed by the harness"
    " from the weights after some of the blocks, outside the clock. The error at the end is the round's.",
    "import": "Seconds to start a process, with Python and numpy, and to import the framework in it.",
    "build": "Seconds to construct the trainer, which builds the graph and puts the training set on the device. Cold:"
    " in the campaign's first launch; warm: median of the later ones.",
    "first-step": "Seconds of the first update in a process, which is where just-in-time compilers work. Cold and warm"
    " as for build.",
    "steady": "A round's time over its updates.",
    "break-even": "After how many updates, counted from the start of the cold process, the case has overtaken the"
    " baseline (from), or is overtaken by it (until). It compares start + import + build + first step + updates x"
    " steady step.",
    "memory": "The largest resident memory of the worker process, framework and training set included.",
    "disk": "The files of the framework and of all packages that it requires, as they are installed.",
    "overhead": "The time of what is written on top of another implementation over that one's time, paired block by"
    " block: what the layer costs. 1 is nothing, and below 1 it is the faster of the two, as where it compiles more of"
    " the step. The extra time is that of one step. With batch_size=32,hidden=100 the layer's own work is most of a"
    " step.",
    "state": "Only valid cases show figures. Unverified: does not agree with the float64 reference. Failed: crashed,"
    " hung or could not start. Oversubscribed: used more CPUs than it was given. Undersubscribed: fewer of its threads"
    " worked than it was given. Contended, throttled: the machine was disturbed. Skipped: there was no interpreter.",
    "gpu-speedup": "The CPU's time over the GPU's, of the same implementation in the same campaign, paired.",
    "transfer": "Seconds to put the whole training set on the GPU, which has been used before: median of the launches."
    " It is paid once, as a part of build, and is not part of an iteration.",
    "manifest": "What differs between the cases in a way that a reader must know; each framework does the same"
    " arithmetic with its own means.",
    "loss": "Mean cross-entropy of a minibatch before its update, in nats; drawn as the mean of each block of updates.",
    "drift": "Every timed block in the order of measuring, as a percentage of its case's time. A slope is a machine"
    " that became slower or faster; hollow marks are blocks that were disturbed and do not count.",
    "scaling": "A step's time against one size, all else equal: flat where overhead dominates, rising where the matrix"
    " products do. Each point is the newest valid measurement on that hardware.",
    "history": "One point for each saved run. Points of different days are weaker evidence than speedups within a"
    " campaign: the machine's speed may differ by several percent from day to day.",
    "change": "A level of a case's history that differs from the one before: of the time, detected as a change point"
    " and at least 2 %; of the validation error, more than 0.1 points, by which equal arithmetic does not move it."
    " A slow trend is a change of that size in small steps; before and after are the levels at its ends, the commits"
    " are those of the last run before it and of the newest run in it, and the change has its 95 % interval.",
    "levels": "The median time of neighbouring runs that do not differ beyond noise. The newest level over the first"
    " and over the best one shows what small steps add up to, with 95 % intervals from how runs vary around their"
    " levels; neighbouring runs may be alike.",
    "commits": "The commits of the last run before a change and of the first one after it: the cause lies between"
    " them, or is among the versions that changed, or is the machine.",
    "verdict": "In a history, regression: slower, or a higher error; improvement: the opposite. Between two revisions,"
    " slower and faster: the whole interval of the time ratio is beyond the tolerance; same: it is within it;"
    " inconclusive: neither; unverified: the case learned less or lost its number through its own fault.",
    "conditions": "Protocol, iterations, workload, precision, data, hardware and threads. Runs that differ in any of"
    " them are never merged into one number or put into one table.",
    "kind": "Hosts of a fleet with equal fingerprints are of one kind. Kinds are never merged.",
    "over-hosts": "The geometric mean of the hosts' own figures, each the mean of the host's runs at the newest commit."
    " A host is one value, however long it has measured, and the 95 % interval is by Student's t over hosts: it is for"
    " hosts of this kind.",
    "between-hosts": "How much hosts of a kind differ: the standard deviation of their figures.",
    "odd-host": "A host that is further from the others of its kind than chance explains, by Rosner's test for several"
    " outliers, with a 5 % chance of naming any host of a kind wrongly. Of fewer than four hosts none is named.",
    "machine": "Equal fingerprints mean equal CPU model, CPUs used, memory, architecture and GPUs.",
    "noise": "A case measured against itself, interleaved as all other pairs were: smaller differences cannot be"
    " resolved.",
}
