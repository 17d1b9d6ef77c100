"""Small inputs of the metrics that take no maps."""

INPUTS = {
    "background_gap": {
        "predictions": [3, 0, 2, 2],
        "references": [3, 1, 2, 0],
        "variant": ["mixed_same", "mixed_rand", "mixed_same", "mixed_rand"],
    },
    "caption_scores": {
        "predictions": ["a dog runs on the grass", "two cats", "", "a man's hat"],
        "references": [
            ["a dog runs on grass", "the dog is out"],
            ["two red cats sleep"],
            ["a bus"],
            ["the man has a hat"],
        ],
    },
    "chair": {
        "predictions": ["a dog and a cat", "two dogs", "", "a hot dog on a bench"],
        "references": [["dog"], ["dog", "cat"], [], ["hot dog", "bench"]],
    },
    "faithfulness": {
        "full_probability": [0.9, 0.5, 0.7, 0.6],
        "kept_probabilities": [[0.5, 0.8], [0.5, 0.25], [0.1, 0.2], [0.3, 0.6]],
        "removed_probabilities": [[0.1, 0.2], [0.25, 0.0], [0.3, 0.1], [0.6, 0.5]],
    },
    "group_accuracy": {"predictions": [1, 0, 1, 1], "references": [1, 1, 1, 0], "groups": [0, 1, 1, 0]},
    "on_object_epg": {
        "predictions": [[[3.0, 1.0], [2.0, -1.0]], [[1.0, 2.0, 4.0]], [[-1.0]], [[0.5, 0.25], [1.0, 0.0]]],
        "references": [[[1, 1], [0, 1]], [[0, 1, 1]], [[1]], [[1, 0], [1, 0]]],
        "segmentations": [[[1, 0], [1, 1]], [[1, 1, 0]], [[1]], [[0, 1], [1, 0]]],
    },
    "plausibility": {
        "predictions": [[0.1, 0.5, 0.2], [3.0, 1.0], [1.0, 1.0], [0.3, 0.1, 0.2, 0.0]],
        "references": [[0.0, 0.9, 0.8], [1.0, 0.0], [0.2, 0.3], [0.9, 0.0, 0.0, 0.1]],
    },
    "question_ranking": {
        "predictions": [0.9, 0.2, 0.5, -0.1, 0.4, 0.3],
        "references": [1, 0, 0, 1, 0, 1],
        "group": ["a", "a", "b", "a", "b", "b"],
    },
    "rrr": {
        "important_accuracy": [1.0, 0.3, 0.0, 0.6],
        "unimportant_confidence": [0.2, 0.5, 0.9, 0.4],
        "invariance": [[True, False], [True, True], [False, False], [True, False]],
        "has_important": [True, True, False, True],
    },
    "vqa_consistency": {
        "predictions": [2, 0, 1, 1, 0, 2],
        "references": [[0, 0, 1], [0.3, 1, 0], [0, 1, 0], [0.6, 0.9, 0], [1, 0, 0], [0, 0, 0]],
        "role": ["reasoning", "sub", "sub", "reasoning", "sub", "irrelevant"],
        "group": ["a", "a", "a", "b", "b", "b"],
    },
    "vqa_accuracy": {
        "predictions": ["two", "a dog", "red", "yes"],
        "references": [["2"] * 10, ["dog", "cat", "dog", "dogs"], ["blue"], ["yes"]],
    },
}
